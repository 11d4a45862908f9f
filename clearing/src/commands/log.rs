//! `clearing log`: the log's keys.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::Timestamp;
use partner_sdk::KeyId;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::log::note::NoteKey;

use super::at::{At, open};
use crate::office::{install, pki};
use crate::say;
use store::keys;

#[derive(Subcommand)]
pub enum LogCommand {
    /// Print the log's keys, now and before, as partners hold them in log.pub.
    Keys {
        #[command(flatten)]
        at: At,
    },
    /// Make a secret for another key of the log in a new file and print its public line. Give that to partners, then put the file in log.key's place and restart.
    NewKey {
        #[command(flatten)]
        at: At,
        /// The file; it must not be there.
        file: PathBuf,
    },
}

/// Runs one of them.
pub fn run(command: &LogCommand) -> anyhow::Result<()> {
    match command {
        LogCommand::Keys { at } => {
            let (config, mut conn) = open(&at.config)?;
            for key in keys::log_keys(&mut conn, &config.log.origin)? {
                print(&config.log.origin, key)?;
            }
            Ok(())
        }
        LogCommand::NewKey { at, file } => {
            let (config, mut conn) = open(&at.config)?;
            let key = pki::random_key(KeyId::new("log")?)?;
            pki::write_secret(file, &key.secret_base64url())?;
            let public = NoteKey::new(&config.log.origin, key.verifying_key())?;
            // Recorded before anybody can bring the kid that it would have; and whoever enrols from now on is given it.
            install::own_log(&mut conn, &public, Timestamp::now())?;
            Ok(say!("{public}")?)
        }
    }
}

fn print(origin: &str, key: VerifyingKey) -> anyhow::Result<()> {
    Ok(say!("{}", NoteKey::new(origin, key)?)?)
}
