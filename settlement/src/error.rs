//! Why a window doesn't get on.

use std::path::PathBuf;

use jiff::civil::Date;
use migrations::DbError;
use partner_sdk::PartnerId;
use partner_sdk::banking::PaymentReference;
use partner_sdk::change::MOST_JOINED;

use crate::calendar::CalendarError;
use crate::netting::NettingError;
use crate::render::RenderError;
use crate::store::State;

/// Why a phase didn't complete. Nothing of it took effect in the database; files may have been written, the same as they will be again.
#[derive(Debug, thiserror::Error)]
pub enum SettlementError {
    /// The statements of a period are more than is put together.
    #[error("the statements of this period are too long to be put together: ask for fewer days")]
    TooLong,
    /// The database failed.
    #[error("the database failed")]
    Db(#[from] DbError),
    /// The calendar can't be used.
    #[error("the calendar can't be used")]
    Calendar(#[from] CalendarError),
    /// The numbers don't add up, or don't fit.
    #[error("the window can't be netted")]
    Netting(#[from] NettingError),
    /// A statement can't be written down.
    #[error("a statement can't be rendered")]
    Render(#[from] RenderError),
    /// A file can't be written.
    #[error("cannot write {path}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No window has been opened yet.
    #[error("no window is open yet: `clearing serve` opens the first")]
    NoneOpen,
    /// There is no such window.
    #[error("there is no window of {0}")]
    Unknown(Date),
    /// The window hasn't come far enough.
    #[error("the window of {date} is {state}: it must be {needed} first")]
    NotYet {
        /// The window.
        date: Date,
        /// The state that it is in.
        state: State,
        /// The state that it has to reach.
        needed: State,
    },
    /// More windows would close at once than do so by themselves.
    #[error("{0} windows or more are due at once, and none was closed: if the clock is right, run `clearing night --catch-up`")]
    Overdue(usize),
    /// Points of the window still have to expire.
    #[error("points that are due in the window of {0} haven't expired yet")]
    NotExpired(Date),
    /// It is too late for rates.
    #[error("the window of {0} is netted already: it is paid in the currencies that its statements name")]
    Netted(Date),
    /// Its payments were confirmed before.
    #[error("the window of {0} is settled already")]
    Settled(Date),
    /// There is no payment with this reference.
    #[error("there is no payment {0}: references stand in the statements, and in `clearing payments`")]
    NoPayment(PaymentReference),
    /// The payment was confirmed before.
    #[error("the payment {0} is confirmed already")]
    Confirmed(PaymentReference),
    /// Another payment is in its place.
    #[error("the payment {0} isn't made any more: its window was revised, and another payment is in its place")]
    Replaced(PaymentReference),
    /// The window is paid with another.
    #[error("the window of {date} is paid together with that of {lead}: name that one")]
    Joined {
        /// The window.
        date: Date,
        /// The one that has its payments.
        lead: Date,
    },
    /// A window that others are paid with can't be joined to a later one.
    #[error("other windows are paid with that of {0}, so it can only be the last of those that are joined")]
    Lead(Date),
    /// A window can't be looked at by itself.
    #[error("the window of {0} is paid together with others: what each pays stands in `clearing payments --open`")]
    Together(Date),
    /// Its payments aren't known one by one.
    #[error("the window of {0} was netted before payments were known one by one: settle it by itself")]
    AsAWhole(Date),
    /// More windows would be paid together than may be.
    #[error("{windows} windows would be paid together with that of {lead}, and with it there may be {MOST_JOINED} at most")]
    TooMany {
        /// How many.
        windows: usize,
        /// The one that has their payments.
        lead: Date,
    },
    /// A partner has nothing open in a window, so nothing of it is in default.
    #[error(
        "{partner} has no open payment for the window of {date} in a currency in which it has neither paid nor was paid, so it can't be taken out"
    )]
    NothingOpen {
        /// Who.
        partner: PartnerId,
        /// The window.
        date: Date,
    },
    /// What is between two was taken out of a window whole.
    #[error(
        "what {debtor} owes {creditor} was taken out of the window of {date} by a default: it is between the two, and no payment of the window moves it"
    )]
    InDefault {
        /// Who owes.
        debtor: PartnerId,
        /// Whom.
        creditor: PartnerId,
        /// The window.
        date: Date,
    },
    /// Another amount than was due.
    #[error("the payment {reference} is of {due}, and of nothing else")]
    OtherAmount {
        /// Which.
        reference: PaymentReference,
        /// What it is of.
        due: String,
    },
    /// Paid before the window's date, or in days to come.
    #[error("the payment {reference} can't have been made on {paid_on}: from the window's business date until today")]
    PaidWhen {
        /// Which.
        reference: PaymentReference,
        /// The day that was named.
        paid_on: Date,
    },
    /// Windows are netted in order, because residues are carried from one to the next.
    #[error("the window of {earlier} must be netted before that of {date}")]
    OutOfOrder {
        /// The window that was to be netted.
        date: Date,
        /// The one that comes first.
        earlier: Date,
    },
    /// What is kept of a window's statements was changed behind the ledger's back.
    #[error(
        "{name} of the window of {date} isn't what was advised: its bytes don't have the SHA-256 that was kept with them; restore the row of statement_file"
    )]
    Changed {
        /// The window.
        date: Date,
        /// The file.
        name: String,
    },
    /// A partner's files would overwrite the settlement's.
    #[error("a partner can't be called `{0}`: its statement would have the name of another file")]
    ReservedId(PartnerId),
}
