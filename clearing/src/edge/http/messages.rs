//! Messages in: one, many, or many under one signature.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::{HttpRequest, HttpResponse, web};
use partner_sdk::jws::{MAX_MESSAGE_BYTES, SigningKey};
use partner_sdk::wire::{Answer, MAX_BATCH};
use partner_sdk::{Code, PartnerId, Problem};
use rayon::prelude::*;

use super::failure::{Failure, problem_response, too_many};
use super::request::{State, caller, heard, on_cpu, posted, spread};
use crate::edge::failures::Refusals;
use crate::edge::shares;
use crate::posting::receipt;
use crate::posting::verify::{self, Refused};
use crate::posting::writer::Posting;
use ledger::directory::Status;
use ledger::{self, Verified};

/// About what the answer to one message of a batch takes, in bytes.
const LINE: usize = 2048;

/// `POST /v1/messages`: the body is one compact JWS.
pub async fn single(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory) = caller(&request, &state)?;
    let suspended = directory.partners.get(&partner).is_some_and(|p| p.status == Status::Suspended);
    let (partner, directory, body) = if suspended {
        heard(&request, payload, &state, MAX_MESSAGE_BYTES).await?
    } else {
        posted(&request, payload, &state).await?
    };
    let (verified, verify) = timed(|| verify::message(body.trim_end(), &partner, &directory));
    // Whether it has credited what it was told to, a suspended partner may still say; nothing else.
    if suspended && !verified.as_ref().is_ok_and(|verified| ledger::answers(&verified.message.body)) {
        return Err(Failure::new(Code::PartnerSuspended));
    }
    shares::messages(1).map_err(|wait| too_many(wait, "messages"))?;
    let answer = match verified {
        Err(refused) => receipt::refusal(refused, &partner, state.clock.now(), &state.key),
        Ok(verified) => {
            let verified = Arc::new(verified);
            let outcomes = state.ledger.post(vec![verified.clone()]).await.map_err(Failure::new)?;
            let outcome = outcomes.into_iter().next().ok_or(Failure::new(Code::Internal))?;
            let outcome = outcome.map_err(Failure::new)?;
            let (answer, receipt) = timed(|| receipt::answer(&outcome, &verified, state.clock.now(), &state.key));
            tell(1, verify, receipt);
            answer
        }
    };
    Ok(match answer.problem {
        None => HttpResponse::Ok().json(answer),
        Some(problem) => problem_response(&Problem {
            receipt: answer.receipt,
            ..problem
        }),
    })
}

/// `POST /v1/batches`: the body has one compact JWS a line; the answer has one JSON a line, in the same order.
pub async fn batch(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory, body) = posted(&request, payload, &state).await?;
    let lines = body.lines().count();
    if lines == 0 {
        return Err(Problem::new(Code::EmptyBatch, "the body has no line").into());
    }
    if lines > MAX_BATCH {
        return Err(Problem::new(
            Code::TooLarge,
            format!("a batch takes 1 to {MAX_BATCH} messages, this one has {lines}"),
        )
        .into());
    }
    may_send(lines).await?;
    let sender = partner.clone();
    let read = on_cpu(move || {
        let lines: Vec<&str> = body.lines().collect();
        timed(|| lines.par_iter().map(|line| verify::message(line, &sender, &directory)).collect())
    });
    let (read, verify) = read.await?;
    answer_all(&state, read, partner, verify).await
}

/// `POST /v1/signed-batches`: the body is one compact JWS over an array of messages; answered like a batch.
pub async fn signed_batch(request: HttpRequest, payload: web::Payload, state: web::Data<State>) -> Result<HttpResponse, Failure> {
    let (partner, directory, body) = posted(&request, payload, &state).await?;
    let sender = partner.clone();
    let (read, verify) = on_cpu(move || timed(|| verify::batch(body.trim_end(), &sender, &directory))).await?;
    match read {
        Ok(read) => {
            may_send(read.len()).await?;
            answer_all(&state, read, partner, verify).await
        }
        Err(refused) => {
            let answer = receipt::refusal(refused, &partner, state.clock.now(), &state.key);
            let problem = answer.problem.ok_or(Failure::new(Code::Internal))?;
            Ok(problem_response(&Problem {
                receipt: answer.receipt,
                ..problem
            }))
        }
    }
}

/// Counts a batch's messages, and the memory for their answers.
async fn may_send(messages: usize) -> Result<(), Failure> {
    shares::messages(messages).map_err(|wait| too_many(wait, "messages"))?;
    match shares::answer(messages.saturating_mul(LINE)).await {
        true => Ok(()),
        false => Err(too_many(Duration::ZERO, "answers")),
    }
}

/// Posts what was verified and answers a line for each message, in order.
async fn answer_all(
    state: &State,
    read: Vec<Result<Verified, Refused>>,
    partner: PartnerId,
    verify: Duration,
) -> Result<HttpResponse, Failure> {
    // The ledger works with what is answered afterwards: a message is in memory once.
    let read: Vec<Result<Arc<Verified>, Refused>> = read.into_iter().map(|r| r.map(Arc::new)).collect();
    let verified = read.iter().filter_map(|r| r.as_ref().ok().cloned()).collect();
    let outcomes = state.ledger.post(verified).await;
    if let (Some(code), true) = (nothing_done(&outcomes), read.iter().all(Result::is_ok)) {
        return Err(Failure::new(code));
    }
    let (key, now, count) = (state.key.clone(), state.clock.now(), read.len());
    // What is posted is posted: from here on nobody is told that it isn't.
    let answered = spread(move || timed(|| answer_lines(read, outcomes, &partner, now, &key))).await;
    let ((lines, refusals), receipt) = answered.ok_or(Failure::new(Code::OutcomeUnknown))?;
    tell(count, verify, receipt);
    shares::answered(lines.len());
    let mut response = HttpResponse::Ok().content_type("application/x-ndjson").body(lines);
    response.extensions_mut().insert(refusals);
    Ok(response)
}

/// What something gives, and how long it took.
fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let value = body();
    (value, start.elapsed())
}

/// For the debug log: how long a request's messages took before the ledger, and their receipts after it.
fn tell(messages: usize, verify: Duration, receipt: Duration) {
    let (verify, receipt) = (verify.as_micros(), receipt.as_micros());
    tracing::debug!(messages, verify, receipt, "answered; in microseconds");
}

/// The code of all messages, where all failed alike: then the request did.
fn nothing_done(outcomes: &Result<Vec<Posting>, Code>) -> Option<Code> {
    match outcomes {
        Err(code) => Some(*code),
        Ok(all) => {
            let first = all.first()?.as_ref().err()?;
            all.iter().all(|one| one.as_ref().err() == Some(first)).then_some(*first)
        }
    }
}

fn answer_lines(
    read: Vec<Result<Arc<Verified>, Refused>>,
    outcomes: Result<Vec<Posting>, Code>,
    partner: &PartnerId,
    now: jiff::Timestamp,
    key: &SigningKey,
) -> (String, Refusals) {
    // Outcomes come in the order of those that were verified.
    let mut next = outcomes.map(Vec::into_iter);
    let paired: Vec<_> = read
        .into_iter()
        .map(|r| r.map(|verified| (verified, next.as_mut().map(Iterator::next).map_err(|code| *code))))
        .collect();
    let answers = paired.into_par_iter().map(|paired| -> Answer {
        match paired {
            Err(refused) => receipt::refusal(refused, partner, now, key),
            Ok((verified, Ok(Some(Ok(outcome))))) => receipt::answer(&outcome, &verified, now, key),
            Ok((_, Ok(Some(Err(code))))) => receipt::failure(code),
            Ok((_, Ok(None))) => receipt::failure(Code::OutcomeUnknown),
            Ok((_, Err(code))) => receipt::failure(code),
        }
    });
    let lines = answers.map(|answer| {
        let code = answer.problem.as_ref().map(|problem| problem.code);
        (serde_json::to_string(&answer).unwrap_or_default() + "\n", code)
    });
    let (lines, codes): (Vec<String>, Vec<Option<Code>>) = lines.unzip();
    (lines.concat(), Refusals::among(codes.into_iter().flatten()))
}
