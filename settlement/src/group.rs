//! The windows that are paid together: one alone, or one with those that were joined to it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use migrations::{Conn, DbError};

use crate::dues::Due;
use crate::error::SettlementError;
use crate::netting::{NetPositions, net_positions};
use crate::revision::{TakenOut, effects};
use crate::store;

/// What is taken out of windows, by their dates.
pub type Taken = BTreeMap<Date, Vec<TakenOut>>;

/// Windows that are paid together, by the payments of one of them, and settled together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The window whose payments they are from the joining on.
    pub lead: Date,
    /// The others, oldest first, each with the lead's run in which it was joined to it.
    pub joined: Vec<(Date, i64)>,
}

impl Group {
    /// Of a window, which may be any of them.
    pub fn of(conn: &mut Conn, date: Date) -> Result<Self, DbError> {
        let lead = store::joined_to(conn, date)?.map_or(date, |(lead, _)| lead);
        let joined = store::joined_into(conn, lead)?;
        Ok(Self { lead, joined })
    }

    /// All of them, the lead last.
    pub fn dates(&self) -> Vec<Date> {
        self.others().into_iter().chain([self.lead]).collect()
    }

    /// All but the lead.
    pub fn others(&self) -> Vec<Date> {
        self.joined.iter().map(|(date, _)| *date).collect()
    }

    /// The last run of any of them. A later one is a run of all.
    pub fn last_run(&self, conn: &mut Conn) -> Result<i64, DbError> {
        store::last_run(conn, &self.dates())
    }

    /// All payments of all of them.
    pub fn dues(&self, conn: &mut Conn) -> Result<Vec<Due>, DbError> {
        let mut dues = vec![];
        for date in self.dates() {
            dues.extend(store::dues_of(conn, date)?);
        }
        Ok(dues)
    }

    /// What netting made of them in sum, less what was taken out so far.
    pub fn nets(&self, conn: &mut Conn) -> Result<NetPositions, SettlementError> {
        let mut nets = NetPositions::new();
        for date in self.dates() {
            add(&mut nets, nets_of(conn, date)?);
        }
        Ok(nets)
    }

    /// What they count against net debit caps now.
    pub fn exposed(&self, conn: &mut Conn) -> Result<NetPositions, SettlementError> {
        let mut exposed = NetPositions::new();
        for date in self.dates() {
            add(&mut exposed, store::exposed(conn, date)?);
        }
        Ok(exposed)
    }
}

/// The same of one window by itself.
pub fn nets_of(conn: &mut Conn, date: Date) -> Result<NetPositions, SettlementError> {
    let mut nets = net_positions(&store::payable(conn, date)?)?;
    let (taken, _) = store::taken_of(conn, date)?;
    add(&mut nets, effects(&taken));
    Ok(nets)
}

fn add(sums: &mut NetPositions, more: NetPositions) {
    for (key, micros) in more {
        *sums.entry(key).or_default() += micros;
    }
}
