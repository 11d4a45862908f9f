//! Messages and payments as their parties find them afterwards.

use jiff::civil::Date;
use serde::Deserialize;

use super::{Client, ClientError};
use crate::wire::{PaymentState, Payments, PostedMessage, PostedQuery};

/// Some messages in order, and the number after which to go on; `None` where there are no more now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostedPage {
    /// The messages, at most a thousand; it may be none although there are more.
    pub messages: Vec<PostedMessage>,
    /// What `after` has to be for the next page.
    pub next: Option<i64>,
}

/// The last line of an answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Next {
    next: Option<String>,
}

impl Client {
    /// The messages after a number (0: from the start) of which one is a party and that are wanted, with what each put on one's statement. Go on with
    /// [`PostedPage::next`] until there is none.
    pub async fn messages(&self, wanted: &PostedQuery, after: i64) -> Result<PostedPage, ClientError> {
        let reply = self.get_reply(&format!("/v1/messages?{}after={after}", wanted.text())).await?;
        let mut lines: Vec<&str> = reply.text()?.lines().collect();
        let last: Option<Next> = lines.pop().and_then(|line| serde_json::from_str(line).ok());
        let last = last.ok_or_else(|| reply.unexpected("it ends without saying where to go on"))?;
        let next = last.next.map(|text| text.parse()).transpose();
        let next: Option<i64> = next.map_err(|_| reply.unexpected("where to go on is no number"))?;
        if next.is_some_and(|next| next <= after) {
            return Err(reply.unexpected("it goes on where it was"));
        }
        let messages: Result<Vec<PostedMessage>, _> = lines.iter().map(|line| serde_json::from_str(line)).collect();
        let messages = messages.map_err(|error| reply.unexpected(format!("a message can't be read: {error}")))?;
        Ok(PostedPage { messages, next })
    }

    /// One's payments of the windows from a date until another, the newest first: at most a thousand, those that are open or all.
    pub async fn payments(&self, (from, until): (Date, Date), open: bool) -> Result<Vec<PaymentState>, ClientError> {
        let state = if open { "&state=open" } else { "" };
        let reply = self.get_reply(&format!("/v1/payments?from={from}&until={until}{state}")).await?;
        let answer: Payments = serde_json::from_str(reply.text()?).map_err(|error| reply.unexpected(error.to_string()))?;
        Ok(answer.payments)
    }

    /// All of them, page by page.
    pub async fn all_messages(&self, wanted: &PostedQuery) -> Result<Vec<PostedMessage>, ClientError> {
        let (mut all, mut after) = (vec![], Some(0));
        while let Some(from) = after {
            let page = self.messages(wanted, from).await?;
            all.extend(page.messages);
            after = page.next;
        }
        Ok(all)
    }
}
