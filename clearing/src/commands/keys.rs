//! `clearing partner invite` and `clearing key`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use partner_sdk::change::Change;
use partner_sdk::client::new_message_id;
use partner_sdk::jws::sha256_hex;
use partner_sdk::text::Why;
use partner_sdk::wire::keys::{Issued, KeyName, Reason, Revocation, SigningKeyEntry, Spki};
use partner_sdk::{KeyId, PartnerId};

use super::at::{At, clock, open};
use super::office::{Who, put_forward, signing_key};
use crate::commands::out;
use crate::office::pki;
use crate::say;
use store::invitations;
use store::keys::{self, By};
use store::load_directory;

#[derive(Args)]
pub(super) struct Invite {
    #[command(flatten)]
    at: At,
    /// The partner's id in the network.
    id: PartnerId,
    /// Your name, as `clearing person list` shows it: proposes the invitation, for another person to approve. Without it the invitation is good at once, which
    /// is possible in a sandbox and until the network is founded.
    #[arg(long = "as", requires = "key")]
    name: Option<String>,
    /// The file with your signing key.
    #[arg(long, requires = "name")]
    key: Option<PathBuf>,
    /// Why it is invited, for who approves it.
    #[arg(long, default_value = "to bring its keys", requires = "name")]
    why: Why,
    /// In a sandbox: the instant at which its clock stands.
    #[arg(long)]
    sandbox_clock: Option<Timestamp>,
}

#[derive(Subcommand)]
pub(super) enum KeyCommand {
    /// List partners' keys: those that sign, and those of TLS certificates.
    List {
        #[command(flatten)]
        at: At,
        /// Only this partner's.
        #[arg(long)]
        partner: Option<PartnerId>,
    },
    /// Revoke a key, at once and for good. One person is enough for this, who signs it.
    Revoke(Revoke),
}

#[derive(Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    at: At,
    /// The signing key of this id.
    #[arg(long, required_unless_present = "spki", conflicts_with = "spki")]
    kid: Option<KeyId>,
    /// The TLS key with this SHA-256 of its SubjectPublicKeyInfo.
    #[arg(long)]
    spki: Option<Spki>,
    /// Why, for the record.
    #[arg(long)]
    why: Reason,
    #[command(flatten)]
    who: Who,
}

/// Prints the invitation's token, which is kept nowhere.
pub(super) fn invite(invite: &Invite) -> anyhow::Result<()> {
    let (_, mut conn) = open(&invite.at.config)?;
    let now = clock(&mut conn, invite.sandbox_clock)?.now();
    let token = pki::random_token()?;
    if let (Some(name), Some(key)) = (invite.name.clone(), invite.key.clone()) {
        let change = Change::Invite {
            partner: invite.id.clone(),
            token_sha256: sha256_hex(token.as_bytes()),
        };
        let filed = put_forward(&mut conn, &Who { name, key }, invite.why.to_string(), change, now)?;
        out::complain(&format!("now another person: clearing approve {}", filed.hash));
        out::complain(&format!(
            "from then on {} may enrol once, within 24 hours, with this token:",
            invite.id
        ));
    } else {
        let expires_at = invitations::invite(&mut conn, &invite.id, &sha256_hex(token.as_bytes()), now)?;
        out::complain(&format!("{} may enrol once, until {expires_at}, with this token:", invite.id));
    }
    // The token is kept nowhere, so that nobody reads it is a failure here.
    Ok(say!("{token}")?)
}

pub(super) fn run(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::List { at, partner } => list(at, partner.as_ref()),
        KeyCommand::Revoke(revoke) => {
            let name = match (&revoke.kid, revoke.spki) {
                (Some(kid), _) => KeyName::Kid(kid.clone()),
                (None, Some(spki)) => KeyName::Spki(spki),
                (None, None) => anyhow::bail!("--kid or --spki is needed"),
            };
            let (_, mut conn) = open(&revoke.at.config)?;
            let (key, now) = (signing_key(&mut conn, &revoke.who)?, Timestamp::now());
            let revocation = Revocation {
                issued: Issued {
                    id: new_message_id(),
                    issued_at: now,
                },
                key: name.clone(),
                reason: revoke.why.clone(),
            };
            keys::revoke(&mut conn, &name, &revoke.why, &By::Person(&revocation.sign(&key)), now)?;
            out::done(say!("the {name} is revoked: a service that runs refuses it within seconds"))
        }
    }
}

fn list(at: &At, only: Option<&PartnerId>) -> anyhow::Result<()> {
    let (_, mut conn) = open(&at.config)?;
    let directory = load_directory(&mut conn)?;
    let mut partners: Vec<&PartnerId> = directory.partners.keys().filter(|id| only.is_none_or(|only| only == *id)).collect();
    partners.sort();
    for id in partners {
        let own = directory.keys.of(id, Timestamp::now());
        for key in own.signing {
            say!("{id} sign {} {:?}{}", key.kid, key.state, span(&key))?;
        }
        for key in own.tls {
            let revoked = key.revoked_at.map_or_else(String::new, |at| format!(" since {at}"));
            say!(
                "{id} tls {} {:?}{revoked} registered {}",
                key.spki_sha256,
                key.state,
                key.registered_at
            )?;
        }
    }
    Ok(())
}

/// Since when a signing key is revoked; else from when until when it counts, where it doesn't count all the time.
fn span(key: &SigningKeyEntry) -> String {
    if let Some(at) = key.revoked_at {
        return format!(" since {at} registered {}", key.registered_at);
    }
    let from = Some(key.valid_from).filter(|from| *from > Timestamp::UNIX_EPOCH);
    let from = from.map_or_else(|| " from the beginning".to_owned(), |from| format!(" from {from}"));
    let until = key.valid_until.map_or_else(String::new, |until| format!(" until {until}"));
    format!("{from}{until} registered {}", key.registered_at)
}
