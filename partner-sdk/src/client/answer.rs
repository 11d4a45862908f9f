//! Reading what the server said: nothing in it is believed before it is checked, and nothing of it gets into an error's text.

use std::time::Duration;

use serde::de::DeserializeOwned;

use super::error::{ClientError, ReceiptFault};
use crate::problem::Problem;
use crate::trust::Reader;
use crate::wire::{Answer, Outcome, Receipt};

/// A whole HTTP answer.
pub(super) struct Reply {
    pub status: u16,
    pub is_problem: bool,
    pub retry_after: Option<Duration>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn is_ok(&self) -> bool {
        self.status == 200
    }

    pub fn unexpected(&self, why: impl Into<String>) -> ClientError {
        ClientError::Unexpected {
            status: self.status,
            why: why.into(),
        }
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|e| self.not_json(e.line(), &e))
    }

    /// The same, where `is_sound` finds that it answers what was asked.
    pub fn json_if<T: DeserializeOwned>(&self, is_sound: impl FnOnce(&T) -> bool) -> Result<T, ClientError> {
        let answer = self.json()?;
        match is_sound(&answer) {
            true => Ok(answer),
            false => Err(self.unexpected("it is about another key")),
        }
    }

    pub fn text(&self) -> Result<&str, ClientError> {
        std::str::from_utf8(&self.body).map_err(|_| self.unexpected("not UTF-8"))
    }

    pub fn problem(&self) -> Result<Problem, ClientError> {
        if self.is_problem {
            self.json()
        } else {
            Err(self.unexpected("not a problem of the clearinghouse"))
        }
    }

    /// The answers of a batch, one JSON a line; with `hashes`, one for each of them.
    pub fn lines(&self, hashes: Option<&[String]>, reader: &mut Reader<'_>) -> Result<Vec<Answer>, ClientError> {
        let lines: Vec<&str> = self.text()?.lines().collect();
        if hashes.is_some_and(|hashes| hashes.len() != lines.len()) {
            return Err(self.unexpected("not as many answers as messages"));
        }
        let read = |(at, line): (usize, &&str)| {
            let answer = serde_json::from_str(line).map_err(|e| self.not_json(at + 1, &e))?;
            let hash = hashes.and_then(|hashes| hashes.get(at)).map(String::as_str);
            Ok(settle(answer, hash, reader).map_err(ClientError::ReceiptInvalid)?.0)
        };
        lines.iter().enumerate().map(read).collect()
    }

    /// Where the JSON is wrong; serde's own text may quote the content.
    fn not_json(&self, line: usize, error: &serde_json::Error) -> ClientError {
        self.unexpected(format!(
            "not the JSON that belongs there, at line {line}, column {}",
            error.column()
        ))
    }
}

/// Checks an answer against its receipt, and the receipt against the keys and the SHA-256 (hexadecimal) of what was sent, where that is
/// known. What only one of outcome, receipt and problem says is filled in for the others.
pub(super) fn settle(mut answer: Answer, hash: Option<&str>, reader: &mut Reader<'_>) -> Result<(Answer, Option<Receipt>), ReceiptFault> {
    let inner = answer.problem.as_ref().and_then(|problem| problem.receipt.as_ref());
    if inner.is_some_and(|inner| answer.receipt.as_ref().is_some_and(|outer| outer != inner)) {
        return Err(ReceiptFault::Disagrees);
    }
    answer.receipt = answer.receipt.take().or_else(|| inner.cloned());
    let Some(text) = &answer.receipt else {
        let proven = answer.outcome != Some(Outcome::Accepted) && answer.problem.is_some();
        return if proven { Ok((answer, None)) } else { Err(ReceiptFault::Missing) };
    };
    let (receipt, _) = reader.receipt(text).map_err(ReceiptFault::Invalid)?;
    if hash.is_some_and(|hash| hash != receipt.message_sha256) {
        return Err(ReceiptFault::OtherMessage);
    }
    let outcome = receipt.outcome();
    let problem_agrees = answer.problem.as_ref().is_none_or(|problem| Some(problem.code) == receipt.code);
    if !problem_agrees || answer.outcome.is_some_and(|claimed| claimed != outcome) {
        return Err(ReceiptFault::Disagrees);
    }
    answer.outcome = Some(outcome);
    Ok((answer, Some(receipt)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jws::{SigningKey, sha256_hex};
    use crate::problem::Code;
    use crate::trust::Trust;
    use crate::trust::testing::{self, trust};

    fn key(secret: u8) -> SigningKey {
        SigningKey::from_bytes("clearing-1".parse().expect("kid"), &[secret; 32])
    }

    fn receipt(sent: &str, code: Option<Code>) -> String {
        let receipt = Receipt {
            message_sha256: sha256_hex(sent.as_bytes()),
            sender: "wellcome".parse().expect("partner"),
            id: None,
            code,
            field: None,
            sequence: Some(1),
            window: None,
            posted_at: "2017-01-31T10:00:00Z".parse().expect("time"),
            facts: vec![],
            salt: None,
        };
        match code {
            None => testing::receipt(&[receipt.entry()], 0),
            Some(_) => Receipt { sequence: None, ..receipt }.sign(&key(3)),
        }
    }

    fn settled(answer: Answer, hash: Option<&str>, trust: &Trust) -> Result<Answer, ReceiptFault> {
        settle(answer, hash, &mut Reader::new(trust)).map(|(answer, _)| answer)
    }

    fn check(answer: Answer, sent: &str) -> Result<Answer, ReceiptFault> {
        settled(answer, Some(&sha256_hex(sent.as_bytes())), &trust(&key(3)))
    }

    const NOTHING: Answer = Answer {
        outcome: None,
        receipt: None,
        problem: None,
    };

    #[test]
    fn an_acceptance_needs_its_receipt() {
        let good = Answer {
            outcome: Some(Outcome::Accepted),
            receipt: Some(receipt("a", None)),
            ..NOTHING
        };
        assert_eq!(check(good.clone(), "a"), Ok(good.clone()));
        assert_eq!(check(good.clone(), "b"), Err(ReceiptFault::OtherMessage));
        assert!(settled(good.clone(), None, &trust(&key(3))).is_ok());
        assert!(matches!(
            settled(
                Answer {
                    receipt: Some(receipt("a", Some(Code::Stale))),
                    ..NOTHING
                },
                None,
                &trust(&key(4))
            ),
            Err(ReceiptFault::Invalid(_))
        ));
        assert_eq!(
            check(
                Answer {
                    receipt: None,
                    ..good.clone()
                },
                "a"
            ),
            Err(ReceiptFault::Missing)
        );
        assert_eq!(check(NOTHING, "a"), Err(ReceiptFault::Missing));
        let liar = Answer {
            problem: Some(Problem::new(Code::Stale, "")),
            ..good
        };
        assert_eq!(check(liar, "a"), Err(ReceiptFault::Disagrees));
    }

    #[test]
    fn a_rejection_is_one_by_its_receipt() {
        let problem = Problem {
            receipt: Some(receipt("a", Some(Code::Stale))),
            ..Problem::new(Code::Stale, "")
        };
        let settled = check(
            Answer {
                problem: Some(problem.clone()),
                ..NOTHING
            },
            "a",
        )
        .expect("good");
        assert_eq!((settled.outcome, &settled.receipt), (Some(Outcome::Rejected), &problem.receipt));
        let open = Answer {
            problem: Some(Problem::new(Code::Overloaded, "")),
            ..NOTHING
        };
        assert_eq!(check(open.clone(), "a"), Ok(open));
        let outer = Some(receipt("a", Some(Code::NoAgreement)));
        for liar in [
            Answer {
                problem: Some(problem.clone()),
                outcome: Some(Outcome::Accepted),
                ..NOTHING
            },
            Answer {
                problem: Some(problem.clone()),
                receipt: outer,
                ..NOTHING
            },
            Answer {
                problem: Some(Problem {
                    code: Code::NoAgreement,
                    ..problem
                }),
                ..NOTHING
            },
        ] {
            assert_eq!(check(liar, "a"), Err(ReceiptFault::Disagrees));
        }
    }

    #[test]
    fn a_batch_has_an_answer_for_each_message() {
        let line = |sent| {
            serde_json::to_string(&Answer {
                receipt: Some(receipt(sent, None)),
                ..NOTHING
            })
            .expect("json")
        };
        let reply = |body: String| Reply {
            status: 200,
            is_problem: false,
            retry_after: None,
            body: body.into_bytes(),
        };
        let hashes = ["a", "b"].map(|sent| sha256_hex(sent.as_bytes()));
        let read = |body: String| reply(body).lines(Some(&hashes), &mut Reader::new(&trust(&key(3))));
        assert_eq!(
            read(format!("{}\n{}\n", line("a"), line("b"))).map(|answers| answers.len()).ok(),
            Some(2)
        );
        assert!(matches!(
            read(format!("{}\n{}", line("b"), line("a"))),
            Err(ClientError::ReceiptInvalid(ReceiptFault::OtherMessage))
        ));
        for bad in [
            line("a"),
            format!("{}\n\n", line("a")),
            format!("{}\n{{\"member\":\"secret\"}}{{", line("a")),
            "\u{0}\n[[[[".into(),
        ] {
            let error = read(bad).expect_err("bad");
            assert!(matches!(error, ClientError::Unexpected { status: 200, .. }));
            assert!(!format!("{error:?} {error}").contains("secret"));
        }
    }

    #[test]
    fn only_problems_are_read_as_problems() {
        let html = Reply {
            status: 502,
            is_problem: false,
            retry_after: None,
            body: b"<html>".to_vec(),
        };
        assert!(matches!(html.problem(), Err(ClientError::Unexpected { status: 502, .. })));
        let body = serde_json::to_vec(&Problem::new(Code::Overloaded, "full")).expect("json");
        let problem = Reply {
            status: 503,
            is_problem: true,
            retry_after: None,
            body,
        };
        assert_eq!(problem.problem().ok().map(|p| p.code), Some(Code::Overloaded));
    }
}
