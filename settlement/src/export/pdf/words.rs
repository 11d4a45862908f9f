//! What the PDF says, in English and in Traditional Chinese as used in Hong Kong.

use jiff::Timestamp;
use jiff::civil::Date;

use crate::period::Period;
use crate::statement::{Direction, NetResult};

/// In which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Traditional Chinese as used in Hong Kong.
    Chinese,
}

impl Language {
    /// By BCP 47.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-Hant-HK",
        }
    }

    pub(super) fn words(self) -> &'static Words {
        match self {
            Self::English => &ENGLISH,
            Self::Chinese => &CHINESE,
        }
    }
}

/// All of a language's words.
pub(super) struct Words {
    language: Language,
    pub colon: &'static str,
    pub comma: &'static str,
    pub period: &'static str,
    pub cut_off: &'static str,
    pub issuer: &'static str,
    pub issuer_name: &'static str,
    pub windows_count: &'static str,
    pub summary: &'static str,
    pub signs: &'static str,
    pub no_part: &'static str,
    pub currency: &'static str,
    pub net: &'static str,
    pub net_of_days: &'static str,
    pub result: &'static str,
    pub payments: &'static str,
    pub no_payments: &'static str,
    pub reference: &'static str,
    pub value_date: &'static str,
    pub from: &'static str,
    pub to: &'static str,
    pub no_account: &'static str,
    pub amount: &'static str,
    pub reduction: &'static str,
    pub reduction_note: &'static str,
    pub gross: &'static str,
    pub bilateral: &'static str,
    pub multilateral: &'static str,
    pub saved: &'static str,
    pub daily: &'static str,
    pub you_are_owed: &'static str,
    pub you_owe: &'static str,
    pub owed_above: &'static str,
    pub owe_below: &'static str,
    pub net_mark: &'static str,
    pub business_date: &'static str,
    pub obligations: &'static str,
    pub obligations_note: &'static str,
    pub conversions: &'static str,
    pub conversions_note: &'static str,
    pub rate: &'static str,
    pub paid_in: &'static str,
    pub difference: &'static str,
    pub counterparty: &'static str,
    pub carried_in: &'static str,
    pub carried_out: &'static str,
    pub lines: &'static str,
    pub lines_note: &'static str,
    pub kind: &'static str,
    pub direction: &'static str,
    pub agreement: &'static str,
    pub programme: &'static str,
    pub messages: &'static str,
    pub points: &'static str,
    pub price: &'static str,
    pub breakage: &'static str,
    pub breakage_note: &'static str,
    pub funder: &'static str,
    pub value: &'static str,
    pub unknown: &'static str,
    pub running: &'static str,
    pub running_note: &'static str,
    pub opening: &'static str,
    pub confirmed: &'static str,
    pub revised: &'static str,
    pub closing: &'static str,
    pub carried: &'static str,
    pub agreements: &'static str,
    pub agreements_note: &'static str,
    pub short: &'static str,
    pub hash: &'static str,
    pub windows: &'static str,
    pub windows_note: &'static str,
    pub none: &'static str,
}

const ENGLISH: Words = Words {
    language: Language::English,
    colon: ": ",
    comma: ", ",
    period: "Period",
    cut_off: "Cut-off",
    issuer: "Issued by",
    issuer_name: "The clearinghouse for loyalty points",
    windows_count: "Business days",
    summary: "Summary",
    signs: "Amounts with a sign are positive where you receive and negative where you pay.",
    no_part: "No window of this period added anything to pay or to receive.",
    currency: "Currency",
    net: "Net",
    net_of_days: "Sum of the days' nets; each day is paid by itself",
    result: "Result",
    payments: "Payments",
    no_payments: "None: there is nothing to pay or to receive, or the days were netted before payments were known one by one.",
    reference: "Reference",
    value_date: "Value date",
    from: "From account",
    to: "To account",
    no_account: "Not in force when the statement was made",
    amount: "Amount",
    reduction: "Gross to net",
    reduction_note: "Figures of the whole network, in the currencies in which you take part. Saved is the part of the gross that needn't be paid.",
    gross: "Gross",
    bilateral: "Bilateral net",
    multilateral: "Multilateral net",
    saved: "Saved",
    daily: "Daily flows",
    you_are_owed: "You are owed",
    you_owe: "You owe",
    owed_above: "You are owed (above the line)",
    owe_below: "You owe (below)",
    net_mark: "Net",
    business_date: "Business day",
    obligations: "Obligations by counterparty",
    obligations_note: "You are owed - you owe + carried in = net + carried out. Only the net is rounded; what rounding leaves is carried.",
    conversions: "Paid in another currency",
    conversions_note: "Net x rate = amount + difference. The amount is paid; the difference is carried into the pair's next window in the currency of the payment, where it adds to what is carried in.",
    rate: "Rate",
    paid_in: "Paid in",
    difference: "Difference",
    counterparty: "Counterparty",
    carried_in: "Carried in",
    carried_out: "Carried out",
    lines: "Lines",
    lines_note: "Everything posted, gross: points x price = amount, exactly. All messages of one kind, agreement, direction and price make one line.",
    kind: "Kind",
    direction: "Direction",
    agreement: "Agreement",
    programme: "Programme",
    messages: "Messages",
    points: "Points",
    price: "Price",
    breakage: "Breakage",
    breakage_note: "Points that expired. For information: no money moves.",
    funder: "Funder",
    value: "Value",
    unknown: "unknown",
    running: "Running position",
    running_note: "Opening + confirmed + revised + net = closing. Revised is what was taken out of earlier windows. Carried is what rounding has left over of all pairs; it is no part of the closing.",
    opening: "Opening",
    confirmed: "Confirmed",
    revised: "Revised",
    closing: "Closing",
    carried: "Carried",
    agreements: "Appendix: agreements",
    agreements_note: "The agreements of the lines and the breakage, each by its SHA-256.",
    short: "Short",
    hash: "SHA-256",
    windows: "Appendix: statement files",
    windows_note: "The statement files of which this is made, as they were advised. Each can be downloaded and compared.",
    none: "None.",
};

const CHINESE: Words = Words {
    language: Language::Chinese,
    colon: "：",
    comma: "，",
    period: "期間",
    cut_off: "截數時間",
    issuer: "發出機構",
    issuer_name: "積分結算所",
    windows_count: "營業日數目",
    summary: "摘要",
    signs: "附正負號的金額：正數為應收，負數為應付。",
    no_part: "本期間並無新增應付或應收款項。",
    currency: "貨幣",
    net: "淨額",
    net_of_days: "各日淨額合計（逐日付款）",
    result: "結果",
    payments: "付款",
    no_payments: "沒有：並無應付或應收款項，或有關營業日的淨額計算早於逐筆付款紀錄的啟用。",
    reference: "參考編號",
    value_date: "起息日",
    from: "付款帳戶",
    to: "收款帳戶",
    no_account: "編製結算單時尚未生效",
    amount: "金額",
    reduction: "由總額至淨額",
    reduction_note: "以下為整個網絡的數字，只列出閣下有參與的貨幣。節省比率為總額中無須支付的部分。",
    gross: "總額",
    bilateral: "雙邊淨額",
    multilateral: "多邊淨額",
    saved: "節省",
    daily: "每日往來",
    you_are_owed: "應收",
    you_owe: "應付",
    owed_above: "應收（線上）",
    owe_below: "應付（線下）",
    net_mark: "淨額",
    business_date: "營業日",
    obligations: "按交易對手列出的應收應付",
    obligations_note: "應收 - 應付 + 承前尾數 = 淨額 + 結轉尾數。只有淨額會作四捨五入，所餘尾數結轉下期。",
    conversions: "以另一貨幣支付的淨額",
    conversions_note: "淨額 x 匯率 = 金額 + 差額。金額以付款貨幣支付；差額以付款貨幣結轉下期，計入承前尾數。",
    rate: "匯率",
    paid_in: "付款貨幣",
    difference: "差額",
    counterparty: "交易對手",
    carried_in: "承前尾數",
    carried_out: "結轉尾數",
    lines: "明細",
    lines_note: "所有入帳項目的總額：積分 x 單價 = 金額，毫無捨入。同一類別、協議、方向及單價的訊息合為一行。",
    kind: "類別",
    direction: "方向",
    agreement: "協議",
    programme: "計劃",
    messages: "訊息數目",
    points: "積分",
    price: "單價",
    breakage: "失效積分",
    breakage_note: "已到期的積分。僅供參考，不涉及款項。",
    funder: "出資方",
    value: "價值",
    unknown: "不詳",
    running: "累計結餘",
    running_note: "期初 + 已確認 + 已修訂 + 淨額 = 期末。已修訂為其後自較早結算期剔除的款項。結轉尾數為所有交易對手捨入後的餘數，不計入期末。",
    opening: "期初",
    confirmed: "已確認",
    revised: "已修訂",
    closing: "期末",
    carried: "結轉尾數",
    agreements: "附錄：協議",
    agreements_note: "明細及失效積分所依據的協議，各以其 SHA-256 標示。",
    short: "簡碼",
    hash: "SHA-256",
    windows: "附錄：結算單檔案",
    windows_note: "本文件由以下已發出的結算單檔案合併而成，每個檔案均可下載核對。",
    none: "沒有。",
};

impl Words {
    /// Whose statement it is.
    pub fn titled(&self, partner: &str) -> String {
        match self.language {
            Language::English => format!("Statement of {partner}"),
            Language::Chinese => format!("{partner} 結算單"),
        }
    }

    /// `25 Nov 2026` or `2026年11月25日`.
    pub fn date(&self, date: Date) -> String {
        match self.language {
            Language::English => date.strftime("%-d %b %Y").to_string(),
            Language::Chinese => date.strftime("%Y年%-m月%-d日").to_string(),
        }
    }

    /// The same without the year.
    pub fn short_date(&self, date: Date) -> String {
        match self.language {
            Language::English => date.strftime("%-d %b").to_string(),
            Language::Chinese => date.strftime("%-m月%-d日").to_string(),
        }
    }

    /// A day, or the first and the last.
    pub fn period(&self, from: Date, until: Date) -> String {
        match Period::new(from, until).ok().and_then(|period| period.day()) {
            Some(day) => self.date(day),
            None => match self.language {
                Language::English => format!("{} to {}", self.date(from), self.date(until)),
                Language::Chinese => format!("{}至{}", self.date(from), self.date(until)),
            },
        }
    }

    /// In UTC, to the second.
    pub fn time(&self, time: Timestamp) -> String {
        let time = time.to_zoned(jiff::tz::TimeZone::UTC);
        let clock = time.strftime("%H:%M:%S");
        match self.language {
            Language::English => format!("{}, {clock} UTC", self.date(time.date())),
            Language::Chinese => format!("{} {clock}（UTC）", self.date(time.date())),
        }
    }

    pub fn result(&self, result: NetResult) -> &'static str {
        match (self.language, result) {
            (Language::English, NetResult::Pays) => "You pay",
            (Language::English, NetResult::Receives) => "You receive",
            (Language::English, NetResult::Nothing) => "Nothing to pay",
            (Language::Chinese, NetResult::Pays) => "應付",
            (Language::Chinese, NetResult::Receives) => "應收",
            (Language::Chinese, NetResult::Nothing) => "無須付款",
        }
    }

    pub fn direction(&self, direction: Direction) -> &'static str {
        match direction {
            Direction::YouOwe => self.you_owe,
            Direction::YouAreOwed => self.you_are_owed,
        }
    }

    /// A kind of line; one that isn't known here stands as it is.
    pub fn kind(&self, kind: &str) -> String {
        let (base, reversed) = kind.strip_suffix("_reversal").map_or((kind, false), |base| (base, true));
        let known = match base {
            "earn" => ("Earn", "賺取"),
            "redemption" => ("Redemption", "兌換結付"),
            "burn" => ("Burn", "使用積分"),
            "exchange" => ("Exchange", "轉換"),
            "bonus" => ("Bonus", "獎賞"),
            "prepaid" => ("Prepaid", "預購"),
            "drawn" => ("Drawn", "動用預購"),
            "fee" => ("Fee", "結算費"),
            "adjustment" => ("Adjustment", "爭議調整"),
            "expiry" => ("Expiry", "到期"),
            _ => return kind.to_owned(),
        };
        match (self.language, reversed) {
            (Language::English, false) => known.0.to_owned(),
            (Language::English, true) => format!("{} reversal", known.0),
            (Language::Chinese, false) => known.1.to_owned(),
            (Language::Chinese, true) => format!("{}沖正", known.1),
        }
    }

    /// `(HKD)` after a header.
    pub fn in_currency(&self, head: &str, currency: &str) -> String {
        match self.language {
            Language::English => format!("{head} ({currency})"),
            Language::Chinese => format!("{head}（{currency}）"),
        }
    }

    /// What the picture of the days shows.
    pub fn days_alt(&self, currency: &str, dates: &[Date], (up, down): (&str, &str)) -> String {
        let (Some(first), Some(last)) = (dates.first(), dates.last()) else {
            return currency.to_owned();
        };
        let period = self.period(*first, *last);
        match self.language {
            Language::English => format!(
                "{currency}, {period}: for each business day a bar of what you are owed, at most {up}, above the line, one of what you owe, at most {down}, below it, and a mark for the net. The table that follows has the figures."
            ),
            Language::Chinese => format!(
                "{currency}，{period}：每個營業日一條直條，線上為應收（最多 {up}），線下為應付（最多 {down}），標記為淨額。數字見下表。"
            ),
        }
    }

    /// The number of a page.
    pub fn page_number(&self) -> fn(usize, usize) -> String {
        match self.language {
            Language::English => |page, pages| format!("Page {page} of {pages}"),
            Language::Chinese => |page, pages| format!("第 {page} 頁，共 {pages} 頁"),
        }
    }
}
