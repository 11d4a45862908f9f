//! The ways in which partners send.

/// How the messages of a request are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each by itself, a line for each.
    Lines,
    /// All by one signature.
    Signed,
}

/// One way of sending.
pub(super) struct Way {
    pub what: &'static str,
    pub path: &'static str,
    /// Messages in a request.
    pub size: usize,
    pub form: Form,
    /// Requests on their way at the same time.
    pub in_flight: usize,
}

pub(super) const BATCHES: Way = Way {
    what: "batches",
    path: "/v1/batches",
    size: 100,
    form: Form::Lines,
    in_flight: 16,
};
pub(super) const SINGLES: Way = Way {
    what: "singles",
    path: "/v1/messages",
    size: 1,
    form: Form::Lines,
    in_flight: 64,
};
/// No partner ever has more waiting than its share of the queue.
pub(super) const SIGNED: Way = Way {
    what: "signed",
    path: "/v1/signed-batches",
    size: 1_000,
    form: Form::Signed,
    in_flight: 4,
};
