//! The rules of a world: drawn from its number, written as a network file for the clearinghouse, and read by the oracle as they are.

use tests::load::Draw;

use super::{DAY, HONG_KONG, START, chance, pick};

/// The pool's programme, hosted.
pub const PTS: usize = 0;
/// The bank's, hosted.
pub const BANK: usize = 1;
/// The airline's, hosted.
pub const MILES: usize = 2;
/// The hotel's, which keeps its balances itself.
pub const HOTEL: usize = 3;

/// Every partner.
pub const PARTNERS: [&str; 8] = ["pool", "bank", "airline", "hotel", "grocer", "card", "shop", "cafe"];

/// How long an agreement lets a message lie.
pub const STORE: i64 = 5 * DAY;
/// How long a hold may hold.
pub const HOLD: i64 = 3 * DAY;
/// How long a message may be reversed.
pub const REVERSAL: i64 = 6 * DAY;
/// How long a quote is firm.
pub const QUOTE: i64 = 3600;

/// A programme.
pub struct Programme {
    /// Its code.
    pub code: &'static str,
    /// Who stands behind it.
    pub issuer: &'static str,
    /// How many days after the local date of the earn points live.
    pub days: i64,
    /// How far below zero a reversal may go.
    pub negative_limit: i64,
}

/// An agreement to earn or to burn; prices in millionths.
pub struct Deal {
    /// Who sends.
    pub partner: &'static str,
    /// The programme.
    pub programme: usize,
    /// Of one point.
    pub price: i64,
    /// An earn that is owed when its points are spent.
    pub redemption: bool,
    /// The most in one message.
    pub per_message: i64,
    /// The most of one member in a window.
    pub per_member_day: i64,
}

/// An agreement to exchange, with its one rate and its bonus.
pub struct Exchange {
    /// Who sends.
    pub partner: &'static str,
    /// The programme that gives.
    pub from: usize,
    /// The programme that takes.
    pub to: usize,
    /// Of one point of `to`.
    pub price: i64,
    /// `to` points for `step` points.
    pub numerator: i64,
    /// Points move in multiples of it.
    pub step: i64,
    /// Percent of what is credited; half of it is the sender's cost.
    pub bonus: i64,
    /// The most of one member in a window.
    pub per_member_day: i64,
    /// Percent of the window's line.
    pub fee: i64,
}

/// A world's rules.
pub struct Rules {
    /// Seconds of the local day at which a window ends.
    pub cut_off: i64,
    /// No window on Sundays.
    pub closed_sundays: bool,
    /// By [`PTS`] and the others.
    pub programmes: [Programme; 4],
    /// What may be earned.
    pub earns: Vec<Deal>,
    /// What may be burned.
    pub burns: Vec<Deal>,
    /// What may be exchanged.
    pub exchanges: Vec<Exchange>,
}

impl Rules {
    /// The rules of one world.
    pub fn draw(draw: &mut Draw) -> Self {
        let mut programme = |code, issuer, days: &[i64]| Programme {
            code,
            issuer,
            days: pick(draw, days),
            negative_limit: pick(draw, &[0, 0, 40, 1_000_000]),
        };
        let programmes = [
            programme("PTS", "pool", &[1, 2, 3, 4]),
            programme("BANK", "bank", &[2, 3, 5]),
            programme("MILES", "airline", &[1, 2, 3]),
            programme("HOTEL", "hotel", &[1]),
        ];
        let mut deal = |partner, programme, price, redemption| Deal {
            partner,
            programme,
            price,
            redemption,
            per_message: pick(draw, &[1_000_000, 1_000_000, 130]),
            per_member_day: pick(draw, &[1_000_000, 1_000_000, 400]),
        };
        let earns = vec![
            deal("pool", PTS, 5_500, false),
            deal("grocer", PTS, 5_500, false),
            deal("card", PTS, 8_000, true),
            deal("bank", BANK, 80_000, false),
            deal("shop", BANK, 50_000, true),
            deal("grocer", BANK, 61_234, false),
            deal("airline", MILES, 80_000, false),
            deal("card", MILES, 33_333, true),
        ];
        let burns = vec![
            deal("cafe", PTS, 4_800, false),
            deal("grocer", PTS, 5_000, false),
            deal("cafe", BANK, 70_000, false),
            deal("cafe", MILES, 60_000, false),
            deal("hotel", MILES, 65_432, false),
        ];
        let mut exchange = |partner, from, to, price, rates: &[(i64, i64)]| {
            let (numerator, step) = pick(draw, rates);
            Exchange {
                partner,
                from,
                to,
                price,
                numerator,
                step,
                bonus: pick(draw, &[0, 15, 50, 33]),
                per_member_day: pick(draw, &[1_000_000, 1_000_000, 300]),
                fee: pick(draw, &[0, 1, 3]),
            }
        };
        let exchanges = vec![
            exchange("bank", BANK, MILES, 80_000, &[(1, 12), (1000, 100), (10, 1), (2, 7), (7, 3)]),
            exchange("pool", PTS, MILES, 60_000, &[(1, 12), (1, 3), (3, 10)]),
            exchange("bank", BANK, HOTEL, 20_000, &[(1, 3), (25, 10)]),
        ];
        Self {
            cut_off: pick(draw, &[DAY, DAY, 18 * 3600, 9 * 3600 + 1800]),
            closed_sundays: chance(draw, 40),
            programmes,
            earns,
            burns,
            exchanges,
        }
    }

    /// The windows from the world's start: (days since 1970, the instant of the cut-off), of which none is over at the start.
    pub fn windows(&self, count: usize) -> Vec<(i64, i64)> {
        let today = (START + HONG_KONG).div_euclid(DAY);
        // 1970-01-01 was a Thursday.
        let open = |day: &i64| !self.closed_sundays || (day + 4).rem_euclid(7) != 0;
        let windows = (today..).filter(open).map(|day| (day, day * DAY - HONG_KONG + self.cut_off));
        windows.filter(|(_, cut_off)| *cut_off > START).take(count).collect()
    }

    /// When points expire that occurred at an instant.
    pub fn expiry(&self, programme: usize, occurred_at: i64) -> i64 {
        let local_day = (occurred_at + HONG_KONG).div_euclid(DAY);
        (local_day + self.programmes[programme].days + 1) * DAY - HONG_KONG
    }

    /// As a network file.
    pub fn network(&self) -> String {
        let (hours, minutes) = (self.cut_off / 3600, self.cut_off % 3600 / 60);
        let mut toml = format!("[calendar]\nzone = \"Asia/Hong_Kong\"\ncut_off = \"{hours:02}:{minutes:02}\"\n");
        if self.closed_sundays {
            toml += "closed_weekdays = [\"sunday\"]\n";
        }
        for id in PARTNERS {
            toml += &format!("[[partner]]\nid = \"{id}\"\nname = \"{id}\"\n");
        }
        for (number, programme) in self.programmes.iter().enumerate() {
            let (code, issuer, days, limit) = (programme.code, programme.issuer, programme.days, programme.negative_limit);
            toml += &format!("[[programme]]\ncode = \"{code}\"\nissuer = \"{issuer}\"\ncurrency = \"HKD\"\n");
            toml += &match number {
                HOTEL => "custody = \"external\"\n".to_owned(),
                _ => format!(
                    "expires_after = \"{days} day{}\"\nnegative_limit = \"{limit}\"\n",
                    if days == 1 { "" } else { "s" }
                ),
            };
        }
        self.earns.iter().for_each(|deal| toml += &self.deal("earn", deal));
        self.burns.iter().for_each(|deal| toml += &self.deal("burn", deal));
        self.exchanges.iter().for_each(|exchange| toml += &self.exchange(exchange));
        toml
    }

    fn deal(&self, kind: &str, deal: &Deal) -> String {
        let (partner, programme, price) = (deal.partner, self.programmes[deal.programme].code, money(deal.price));
        let (message, day) = (deal.per_message, deal.per_member_day);
        let settle = if deal.redemption { "settle = \"redemption\"\n" } else { "" };
        format!(
            "[[agreement]]\nkind = \"{kind}\"\npartner = \"{partner}\"\nprogramme = \"{programme}\"\nprice = \"{price}\"\ncurrency = \"HKD\"\n\
             per_message = \"{message}\"\nper_member_day = \"{day}\"\n{settle}{}",
            times()
        )
    }

    fn exchange(&self, exchange: &Exchange) -> String {
        let (from, to) = (self.programmes[exchange.from].code, self.programmes[exchange.to].code);
        let (partner, price, day, step) = (exchange.partner, money(exchange.price), exchange.per_member_day, exchange.step);
        let mut toml = format!(
            "[[agreement]]\nkind = \"exchange\"\npartner = \"{partner}\"\nprogramme = \"{from}\"\nto_programme = \"{to}\"\nprice = \"{price}\"\n\
             currency = \"HKD\"\nper_member_day = \"{day}\"\nquote_seconds = {QUOTE}\nbonus = {{ max_percent = \"1000\", funded_percent = \"50\" }}\n{}",
            times()
        );
        if exchange.fee > 0 {
            toml = toml.replace(
                "quote_seconds",
                &format!("clearing_fee_percent = \"{}\"\nquote_seconds", exchange.fee),
            );
        }
        let (numerator, start) = (exchange.numerator, "valid_from = \"2026-01-01T00:00:00Z\"\n");
        toml += &format!(
            "[[rate]]\nprogramme = \"{from}\"\nto_programme = \"{to}\"\nnumerator = \"{numerator}\"\ndenominator = \"{step}\"\nstep = \"{step}\"\n\
             minimum = \"{step}\"\nmaximum = \"999999\"\n{start}"
        );
        if exchange.bonus > 0 {
            let percent = exchange.bonus;
            toml += &format!(
                "[[bonus]]\nprogramme = \"{from}\"\nto_programme = \"{to}\"\npercent = \"{percent}\"\nfunded_percent = \"50\"\n{start}\
                 valid_until = \"2027-06-01T00:00:00Z\"\n"
            );
        }
        toml
    }
}

/// What all agreements say about time.
fn times() -> String {
    format!(
        "reversal_days = {}\nstore_and_forward_minutes = {}\nhold_minutes = {}\nvalid_from = \"2026-01-01T00:00:00Z\"\n",
        REVERSAL / DAY,
        STORE / 60,
        HOLD / 60
    )
}

/// Millionths as an amount.
fn money(micros: i64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
