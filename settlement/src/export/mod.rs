//! Statements in the forms that people and finance programs read: pure functions of the statements that were advised, so each says what its owner has in hand, whenever it is asked for.

mod camt;
mod error;
mod journal;
mod pain;
mod pdf;
pub(crate) mod sheet;
mod xlsx;
mod xml;

pub use error::ExportError;
use partner_sdk::PartnerId;
use partner_sdk::jws::sha256_hex;

use pdf::Language;

use crate::period::{Period, PeriodError, PeriodStatement, Together};
use crate::render;
use crate::revised::Revision;
use crate::statement::Statement;
use crate::store::Advised;

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Of a day the statement itself, of a longer time [`PeriodStatement`].
    Json,
    /// The statements' tables, one after the other.
    Csv,
    /// A workbook with a sheet for each section.
    Xlsx,
    /// For reading and printing, in English: PDF/A-2a.
    Pdf,
    /// The same in Traditional Chinese.
    PdfChinese,
    /// The partner's account with the clearinghouse: ISO 20022 camt.053.001.08.
    Camt053,
    /// Double entries for hledger (1.25 or later): passes `hledger check --strict`.
    Hledger,
    /// Double entries for beancount (3): passes `bean-check`.
    Beancount,
    /// What the partner pays by the statement of a day, for its bank: ISO 20022 pain.001.001.09.
    Pain001,
    /// The SHA-256 of all the others, as `sha256sum --check` reads it.
    Sha256,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Json,
        Self::Csv,
        Self::Xlsx,
        Self::Pdf,
        Self::PdfChinese,
        Self::Camt053,
        Self::Hledger,
        Self::Beancount,
        Self::Pain001,
        Self::Sha256,
    ];

    /// The name as it stands in addresses and commands.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Xlsx => "xlsx",
            Self::Pdf => "pdf",
            Self::PdfChinese => "pdf-zh",
            Self::Camt053 => "camt053",
            Self::Hledger => "hledger",
            Self::Beancount => "beancount",
            Self::Pain001 => "pain001",
            Self::Sha256 => "sha256",
        }
    }

    /// What files of it are called after the partner's id and the period.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Hledger => "journal",
            Self::PdfChinese => "zh.pdf",
            Self::Camt053 => "camt053.xml",
            Self::Pain001 => "pain001.xml",
            other => other.as_str(),
        }
    }

    /// The media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
            Self::Pdf | Self::PdfChinese => "application/pdf",
            Self::Camt053 | Self::Pain001 => "application/xml",
            Self::Hledger | Self::Beancount | Self::Sha256 => "text/plain; charset=utf-8",
        }
    }
}

impl std::str::FromStr for Form {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|form| form.as_str() == text);
        let names = Self::ALL.map(Self::as_str).join(", ");
        known.ok_or_else(|| format!("not a form; the forms are {names}"))
    }
}

/// A partner's statements of a period, as they were advised.
pub struct Statements {
    period: Period,
    partner: PartnerId,
    /// Oldest first.
    statements: Vec<Statement>,
    /// The bytes that were advised, where the period is a day.
    day: Option<String>,
    together: PeriodStatement,
    /// What has changed about the payments of the day since, oldest first.
    revisions: Vec<Revision>,
}

impl Statements {
    /// Of the JSON files of the period's windows, oldest first; an error where there is none.
    pub fn new(partner: PartnerId, period: Period, files: &[Advised]) -> Result<Self, ExportError> {
        let mut statements = vec![];
        let mut together = Together::new(partner.clone(), period);
        for Advised { text, sha256 } in files {
            let statement: Statement = serde_json::from_str(text).map_err(render::RenderError::Json)?;
            together.add(&statement, sha256)?;
            statements.push(statement);
        }
        let together = together.done().ok_or(PeriodError::Empty)?;
        let day = period.day().and(files.first()).map(|file| file.text.clone());
        Ok(Self {
            period,
            partner,
            statements,
            day,
            together,
            revisions: vec![],
        })
    }

    /// With what has changed about what the partner pays since its statement, where the period is a day: the payment file is of what is paid now.
    pub fn revised(self, files: &[Advised]) -> Result<Self, ExportError> {
        let read = files.iter().map(|file| serde_json::from_str(&file.text));
        let revisions = read.collect::<Result<_, _>>().map_err(render::RenderError::Json)?;
        Ok(Self { revisions, ..self })
    }

    /// What a file of this form is called.
    pub fn file_name(&self, form: Form) -> String {
        format!("{}-{}.{}", self.partner, self.period, form.extension())
    }

    /// The file of this form: the same bytes for the same statements.
    pub fn export(&self, form: Form) -> Result<Vec<u8>, ExportError> {
        match form {
            Form::Json => match &self.day {
                Some(text) => Ok(text.clone().into_bytes()),
                None => Ok(render::to_json(&self.together)?),
            },
            Form::Csv => Ok(render::to_csv_of(&self.statements)?),
            Form::Xlsx => Ok(xlsx::workbook(&self.together)?),
            Form::Pdf => pdf::pdf(&self.together, Language::English),
            Form::PdfChinese => pdf::pdf(&self.together, Language::Chinese),
            Form::Camt053 => camt::account(&self.together),
            Form::Hledger => Ok(self.journals(journal::Program::Hledger)),
            Form::Beancount => Ok(self.journals(journal::Program::Beancount)),
            Form::Pain001 => {
                let day = self.period.day().and(self.statements.first());
                pain::payments(day.ok_or(ExportError::OneDay)?, &self.revisions)
            }
            Form::Sha256 => self.sums(),
        }
    }

    /// Every file that there is of these statements, by its name, and last their checksums.
    pub fn all(&self) -> Result<Vec<(String, Vec<u8>)>, ExportError> {
        let mut files = vec![];
        for form in Form::ALL {
            match self.export(form) {
                Ok(bytes) => files.push((self.file_name(form), bytes)),
                Err(error) if error.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(files)
    }

    fn journals(&self, program: journal::Program) -> Vec<u8> {
        let journals = self.statements.iter().map(|statement| journal::journal(statement, program));
        journals.collect::<Vec<_>>().join("\n").into_bytes()
    }

    fn sums(&self) -> Result<Vec<u8>, ExportError> {
        let mut text = String::new();
        for form in Form::ALL.into_iter().filter(|form| *form != Form::Sha256) {
            match self.export(form) {
                Ok(bytes) => text += &format!("{}  {}\n", sha256_hex(&bytes), self.file_name(form)),
                Err(error) if error.is_none() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(text.into_bytes())
    }
}

#[cfg(test)]
mod tests;
