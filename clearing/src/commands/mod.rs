//! The `clearing` command.

mod accounting;
mod archive;
mod at;
pub mod bench;
mod check;
pub mod demo;
mod documents;
mod exchanges;
mod export;
mod keys;
mod log;
mod network;
mod office;
pub mod out;
mod payments;
mod preflight;
mod progress;
mod queue;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::{Parser, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use migrations::Url;
use partner_sdk::document::Action;
use partner_sdk::jws::VerifyingKey;
use partner_sdk::text::Why;
use partner_sdk::{KeyId, PartnerId};

use at::{At, clock, open};

use crate::documents::{Fault, settled};
use crate::night::Night;
use crate::office::config::Config;
use crate::office::install::{self, Setup};
use crate::{say, server, telemetry};
use store::admin;
use store::keys::KeysError;

/// The clearinghouse for loyalty points: partners post signed messages, every night nets what they owe each other.
#[derive(Parser)]
#[command(
    version,
    about,
    after_help = "A first look: `clearing demo`. A clearinghouse of your own: `clearing init DIR`, \
`clearing network apply FILE`, `clearing partner add`, `clearing network found`, `clearing serve`. See README.md and docs/."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new clearinghouse in a folder: CAs, server certificate, operator key, database, configuration.
    Init {
        /// The folder; it is made if it isn't there.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// A DNS name or address that partners reach the service by; may be given several times.
        #[arg(long = "name", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
        names: Vec<String>,
        /// A SQLite file in the folder, or a PostgreSQL URL such as postgresql://user@host/db?sslmode=verify-full&sslrootcert=ca.pem. One with a password is taken
        /// from the environment only.
        #[arg(long, env = "CLEARING_DATABASE", hide_env_values = true, default_value = "clearing.db")]
        database: String,
        /// Make it a sandbox, whose clock can be set; it can never become a real one.
        #[arg(long)]
        sandbox: bool,
    },
    /// Check or apply a network file (partners, programmes, agreements, rates), or show what there is.
    Network {
        #[command(subcommand)]
        command: network::NetworkCommand,
    },
    /// List and enrol partners.
    Partner {
        #[command(subcommand)]
        command: PartnerCommand,
    },
    /// The operator's people, who propose and approve.
    Person {
        #[command(subcommand)]
        command: office::PersonCommand,
    },
    /// Agreements and changes, with who signed them.
    Document {
        #[command(subcommand)]
        command: documents::DocumentCommand,
    },
    /// Propose a change (a partner's admission, invitation or status, a cap, a programme, a rate, a write-off, a person) from a TOML file.
    Propose {
        #[command(flatten)]
        at: At,
        /// The file: `reason = "..."` and one `[change....]`; see docs/OPERATIONS.md.
        file: PathBuf,
        #[command(flatten)]
        who: office::Who,
    },
    /// Approve what another has proposed, or an agreement that both partners signed: it takes effect.
    Approve {
        #[command(flatten)]
        at: At,
        /// The document's hash, or at least the first six digits of it.
        hash: String,
        #[command(flatten)]
        who: office::Who,
    },
    /// Turn down what another has proposed, or an agreement.
    Decline {
        #[command(flatten)]
        at: At,
        /// The document's hash, or at least the first six digits of it.
        hash: String,
        /// Why, for who proposed it: it is signed with the refusal.
        #[arg(long)]
        why: Why,
        #[command(flatten)]
        who: office::Who,
    },
    /// Take back a change that you have proposed.
    Withdraw {
        #[command(flatten)]
        at: At,
        /// The document's hash, or at least the first six digits of it.
        hash: String,
        /// Why, for the trail.
        #[arg(long)]
        why: Option<Why>,
        #[command(flatten)]
        who: office::Who,
    },
    /// The keys of the log of all that happens.
    Log {
        #[command(subcommand)]
        command: log::LogCommand,
    },
    /// What happened, refusals included.
    Events {
        #[command(flatten)]
        at: At,
        /// Only what came after this number.
        #[arg(long, default_value_t = 0)]
        after: i64,
    },
    /// Exchanges that wait for an issuer's answer, oldest first.
    Exchanges {
        #[command(flatten)]
        at: At,
        /// In a sandbox: the instant at which its clock stands.
        #[arg(long)]
        sandbox_clock: Option<Timestamp>,
    },
    /// Look after the service's own certificate.
    Tls {
        #[command(subcommand)]
        command: TlsCommand,
    },
    /// Look at partners' keys, and revoke one.
    Key {
        #[command(subcommand)]
        command: keys::KeyCommand,
    },
    /// Run the service until it is told to stop (SIGTERM or Ctrl-C). Windows close by themselves.
    Serve {
        #[command(flatten)]
        at: At,
        /// In a sandbox: the instant at which its clock stands.
        #[arg(long)]
        sandbox_clock: Option<Timestamp>,
        /// Write logs as JSON lines.
        #[arg(long)]
        log_json: bool,
    },
    /// Close, net and write the statements of every window whose time is over. `serve` does this by itself.
    Night {
        #[command(flatten)]
        at: At,
        /// In a sandbox: the instant at which its clock stands.
        #[arg(long)]
        sandbox_clock: Option<Timestamp>,
        /// Close however many windows are due. Without this more than seven at once are taken for a clock that is wrong.
        #[arg(long)]
        catch_up: bool,
    },
    /// Say what the open window would come to if it closed now: net positions, fees, payments through the clearing account and between partners. Nothing changes by it.
    Preflight {
        #[command(flatten)]
        at: At,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the files of a window's statements again, as they were advised: for files that were lost or changed.
    Statements {
        #[command(flatten)]
        at: At,
        /// The window's business date, e.g. 2026-11-21.
        date: Date,
    },
    Export(export::Export),
    Accounting(accounting::Accounting),
    Payments(payments::Payments),
    Queue(queue::Queue),
    Confirm(payments::Confirm),
    Settle(payments::Settle),
    /// Move what partners signed in old windows out of the database: into a file for each business date, whose SHA-256 the log has. The service may run meanwhile, and whoever stops this
    /// may start it again.
    ///
    /// A window is archived once it is advised and --keep DAYS before the open one; the oldest comes first, and each is DATE.txt in the folder that `archive` in the
    /// configuration names. From then on `clearing check` needs the file: copy new files to where your backups are, as you copy statements. Nothing else changes: what was
    /// posted is answered, reversed and settled as before. On SQLite the file of the database doesn't get shorter, but new rows take the room.
    Archive(archive::Archive),
    /// Measure the service: messages a second, beside what this machine's verification, writes and requests allow. Or what the subcommands name.
    Bench(bench::Options),
    /// See it work: a made-up trading day, or a replay of a file of purchases, on a throwaway sandbox.
    Demo(demo::Options),
    /// Check that the books are what the log makes of them: every signature, every entry done again by the same rules, every row of every table compared. Ends with 1
    /// where that isn't so. The service may run meanwhile.
    Check(check::Check),
}

#[derive(Subcommand)]
enum PartnerCommand {
    /// Every partner with its status, what it owes over all windows not yet settled, and its net debit caps.
    List {
        #[command(flatten)]
        at: At,
    },
    /// Print a token with which a partner enrols by itself, once and within 24 hours. Once the network is founded, one person proposes it and another approves.
    Invite(keys::Invite),
    /// Sign a partner's certificate request and register its keys, before the network is founded. Prints the certificate.
    Add {
        #[command(flatten)]
        at: At,
        /// The partner's id in the network file.
        id: PartnerId,
        /// The certificate request (PKCS#10, PEM).
        #[arg(long)]
        csr: PathBuf,
        /// The id of the signing key, as it will stand in JWS headers.
        #[arg(long)]
        kid: KeyId,
        /// The Ed25519 public key that messages are signed with: 32 bytes as unpadded base64url.
        #[arg(long, allow_hyphen_values = true)]
        key: String,
    },
}

#[derive(Subcommand)]
enum TlsCommand {
    /// Make a new server certificate with the server CA (`tls.server_ca`, `tls.server_ca_key`). A service that runs takes it within a second.
    Renew {
        #[command(flatten)]
        at: At,
        /// A DNS name or address that partners reach the service by; may be given several times. Without it, those of the old certificate.
        #[arg(long = "name")]
        names: Vec<String>,
    },
}

/// Runs the command line and says plainly what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => out::failure(&error, &told(&error)),
    }
}

/// Help and version, or what is wrong with the arguments; those may quote what somebody else wrote.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        out::complain(&error.render().to_string());
        return ExitCode::from(2);
    }
    match error.print().map_err(out::OutputError::from) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = anyhow::Error::from(error);
            out::failure(&error, &told(&error))
        }
    }
}

/// What an error says to people: a refusal with its detail, the field at fault and what to do, each on a line of its own.
fn told(error: &anyhow::Error) -> String {
    let problem = match (error.downcast_ref(), error.downcast_ref()) {
        (Some(Fault::Refused(problem)), _) | (_, Some(KeysError::Refused(problem))) => problem,
        _ => return format!("{error:#}"),
    };
    let field = problem.field.as_ref().map_or_else(String::new, |field| format!("field: {field}\n"));
    format!(
        "refused: {}\ndetail: {}\n{field}what to do: {}",
        problem.code, problem.detail, problem.what_to_do
    )
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Init {
            folder,
            names,
            database,
            sandbox,
        } => init(Setup {
            folder,
            names,
            database,
            sandbox,
        }),
        Command::Network { command } => network::run(command),
        Command::Partner {
            command: PartnerCommand::List { at },
        } => network::partners(&at),
        Command::Partner {
            command: PartnerCommand::Add { at, id, csr, kid, key },
        } => add_partner(&at.config, &id, &csr, &kid, &key),
        Command::Person { command } => office::person(command),
        Command::Document { command } => documents::run(command),
        Command::Propose { at, file, who } => office::propose(&at, &file, &who),
        Command::Approve { at, hash, who } => office::approve(&at, &hash, &who),
        Command::Decline { at, hash, why, who } => office::turn_down(&at, &hash, &who, Action::Decline, Some(why)),
        Command::Withdraw { at, hash, why, who } => office::turn_down(&at, &hash, &who, Action::Withdraw, why),
        Command::Events { at, after } => office::events(&at, after),
        Command::Partner {
            command: PartnerCommand::Invite(invite),
        } => keys::invite(&invite),
        Command::Key { command } => keys::run(&command),
        Command::Tls {
            command: TlsCommand::Renew { at, names },
        } => {
            let names = install::renew_server(&Config::load(&at.config)?, &names)?;
            out::done(say!("the server's certificate is new, for {}", names.join(", ")))
        }
        Command::Log { command } => log::run(&command),
        Command::Exchanges { at, sandbox_clock } => exchanges::list(&at, sandbox_clock),
        Command::Serve {
            at,
            sandbox_clock,
            log_json,
        } => serve(&at.config, sandbox_clock, log_json),
        Command::Night {
            at,
            sandbox_clock,
            catch_up,
        } => night(&at.config, sandbox_clock, catch_up),
        Command::Preflight { at, json } => preflight::run(&at, json),
        Command::Statements { at, date } => {
            let (config, mut conn) = open(&at.config)?;
            let files = settlement::advise(
                &mut conn,
                date,
                &config.statements,
                Timestamp::now(),
                settlement::Pace::Gentle,
                settled::advised,
            )?;
            let folder = config.statements.join(date.to_string());
            Ok(say!("{} files of {date} are in {}", files.len(), folder.display())?)
        }
        Command::Export(export) => export.run(),
        Command::Accounting(accounting) => accounting.run(),
        Command::Payments(payments) => payments.run(),
        Command::Queue(queue) => queue.run(),
        Command::Confirm(confirm) => confirm.run(),
        Command::Settle(settle) => settle.run(),
        Command::Archive(options) => archive::run(&options),
        Command::Bench(options) => {
            not_in_ps(options.database())?;
            bench::run(&options)
        }
        Command::Demo(options) => {
            options.database.as_deref().map_or(Ok(()), not_in_ps)?;
            demo::run(&options)
        }
        Command::Check(options) => check::run(&options),
    }
}

/// What stands on a command line can be read by everybody on the machine.
fn not_in_ps(database: &str) -> anyhow::Result<()> {
    crate::office::config::is_database(database)?;
    let given = |argument: std::ffi::OsString| argument.to_string_lossy().contains(database);
    ensure!(
        !Url::new(database).has_password() || !std::env::args_os().any(given),
        "a password on the command line can be read by everybody on this machine (ps): leave it out and give it by PGPASSWORD or ~/.pgpass; \
         clearing init also takes the whole URL from CLEARING_DATABASE"
    );
    Ok(())
}

fn init(setup: Setup) -> anyhow::Result<()> {
    not_in_ps(&setup.database)?;
    let folder = setup.folder.clone();
    let made = install::init(&setup)?;
    let server_ca = made.tls.server_ca.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let config = folder.join(install::CONFIG);
    let config = config.display();
    out::done(out::lines(&format!(
        "A new clearinghouse is in {}. Next:
  1. write a founding file (see docs/examples/founding.toml) and run: clearing network apply --config {config} FILE
  2. for each of the first partners: clearing partner add --config {config} ID --csr FILE --kid KID --key PUBLIC_KEY
     give it the certificate, {} and {}
  3. each of three people (or more): clearing person key FILE; then all together, with the files of their keys:
     clearing network show --config {config}, where each looks at the partners' keys; the last line says DIGITS
     clearing network found --config {config} --network DIGITS --person NAME:KID:FILE --person NAME:KID:FILE --person NAME:KID:FILE
     from then on nobody decides alone, and partners come by clearing partner invite
  4. clearing serve --config {config}",
        folder.display(),
        server_ca,
        install::OPERATOR_PUBLIC
    )))
}

fn add_partner(config: &Path, id: &PartnerId, csr: &Path, kid: &KeyId, key: &str) -> anyhow::Result<()> {
    let csr_pem = std::fs::read_to_string(csr).with_context(|| format!("cannot read {}", csr.display()))?;
    let key = VerifyingKey::from_base64url(key).context("--key")?;
    let (config, conn) = open(config)?;
    drop(conn);
    Ok(out::lines(&install::add_partner(&config, id, &csr_pem, kid, &key)?)?)
}

fn serve(path: &Path, at: Option<Timestamp>, log_json: bool) -> anyhow::Result<()> {
    telemetry::init(log_json);
    let (config, mut conn) = open(path)?;
    let clock = clock(&mut conn, at)?;
    drop(conn);
    let running = server::start(&config, clock, true)?;
    if let Err(error) = addresses(&running) {
        // It serves, whoever reads this or not.
        tracing::warn!(error = telemetry::chain(&error), "the addresses can't be printed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        anyhow::Ok(())
    })?;
    tracing::info!("stopping: what waits is still posted");
    running.stop();
    Ok(())
}

fn addresses(running: &server::Running) -> Result<(), out::OutputError> {
    say!("listening on {}", running.address)?;
    running.enrol.map_or(Ok(()), |enrol| say!("enrolment on {enrol}"))?;
    running.health.map_or(Ok(()), |health| say!("health on {health}"))?;
    say!("ready")
}

fn night(path: &Path, at: Option<Timestamp>, catch_up: bool) -> anyhow::Result<()> {
    telemetry::init(false);
    let (config, mut conn) = open(path)?;
    let clock = clock(&mut conn, at)?;
    admin::has_network(&mut conn)?;
    settlement::open_first(&mut conn, clock.now())?;
    let directory = Arc::new(store::load_directory(&mut conn)?);
    let dates = Night {
        catch_up,
        ..Night::new(config.statements.clone())
    }
    .run(&mut conn, &directory, &clock)?;
    if dates.is_empty() {
        return Ok(say!("no window is due")?);
    }
    let told = |date: &Date| say!("statements of {date} are in {}", config.statements.join(date.to_string()).display());
    out::done(dates.iter().try_for_each(told))
}
