//! The tables as diesel sees them, the same on both databases; what each is for stands in the migrations, `sqlite/*/up.sql`.
#![allow(missing_docs, reason = "the columns are documented in the SQL")]

mod disputing;
mod paying;
mod reconciling;

pub use disputing::dispute;
pub use paying::{bank_account, conversion, fx_rate, joined, payment, running_position, taken_out};
pub use reconciling::{reconciliation_mapping, reconciliation_resolved};

diesel::table! {
    partner (id) {
        id -> Text,
        name -> Text,
        status -> Text,
    }
}

diesel::table! {
    net_debit_cap (partner, currency) {
        partner -> Text,
        currency -> Text,
        micros -> BigInt,
    }
}

diesel::table! {
    signing_key (kid) {
        kid -> Text,
        partner -> Text,
        public_key -> Text,
        valid_from -> BigInt,
        valid_until -> Nullable<BigInt>,
        registered_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        revoked_by -> Nullable<Text>,
        revoked_why -> Nullable<Text>,
        revocation -> Nullable<Text>,
    }
}

diesel::table! {
    programme (code) {
        code -> Text,
        issuer -> Text,
        terms -> Text,
    }
}

diesel::table! {
    agreement (no) {
        no -> Integer,
        hash -> Text,
        published_at -> BigInt,
        ends_at -> Nullable<BigInt>,
        terms -> Text,
    }
}

diesel::table! {
    rate (no) {
        no -> Integer,
        kind -> Text,
        hash -> Text,
        agreement -> Integer,
        published_at -> BigInt,
        terms -> Text,
        taken_back_by -> Nullable<Text>,
    }
}

diesel::table! {
    head (id) {
        id -> Integer,
        next_seq -> BigInt,
        last_at -> BigInt,
        next_event -> BigInt,
        directory_version -> BigInt,
        sandbox -> Bool,
        founding -> Text,
        tree_size -> BigInt,
    }
}

diesel::table! {
    calendar (no) {
        no -> Integer,
        first_date -> Text,
        document -> Text,
        terms -> Text,
    }
}

diesel::table! {
    settlement_window (business_date) {
        business_date -> Text,
        state -> Text,
        cut_off_at -> BigInt,
        closed_at -> Nullable<BigInt>,
        netted_at -> Nullable<BigInt>,
        advised_at -> Nullable<BigInt>,
        settled_at -> Nullable<BigInt>,
        settled_by -> Nullable<Text>,
        value_date -> Nullable<Text>,
    }
}

diesel::table! {
    signed_batch (sha256) {
        sha256 -> Text,
        sender -> Text,
        bytes -> Text,
    }
}

diesel::table! {
    message (seq) {
        seq -> BigInt,
        sender -> Text,
        id -> Text,
        kind -> Text,
        business_date -> Text,
        posted_at -> BigInt,
        code -> Nullable<Text>,
        field -> Nullable<Text>,
        facts -> Text,
        programme -> Nullable<Text>,
        member -> Nullable<Text>,
        points -> BigInt,
        spend -> Nullable<BigInt>,
        to_programme -> Nullable<Text>,
        to_member -> Nullable<Text>,
        credited -> BigInt,
        bonus -> BigInt,
        agreement -> Nullable<Integer>,
        rate -> Nullable<Integer>,
        bonus_rate -> Nullable<Integer>,
        batch -> Nullable<Text>,
        sha256 -> Text,
        bytes -> Text,
        salt -> Nullable<Text>,
        leads -> Bool,
    }
}

diesel::table! {
    entry (seq) {
        seq -> BigInt,
        kind -> Text,
        subject -> Text,
        body -> Text,
    }
}

diesel::table! {
    log_tile (level, no) {
        level -> Integer,
        no -> BigInt,
        hashes -> Binary,
    }
}

diesel::table! {
    posting (business_date, seq, leg) {
        business_date -> Text,
        seq -> BigInt,
        leg -> Integer,
        kind -> Text,
        unit -> Text,
        debit -> Text,
        credit -> Text,
        amount -> BigInt,
        points -> BigInt,
        price -> BigInt,
        agreement -> Nullable<Integer>,
        lot_seq -> Nullable<BigInt>,
        lot_leg -> Nullable<Integer>,
    }
}

diesel::table! {
    lot (seq, leg) {
        seq -> BigInt,
        leg -> Integer,
        programme -> Text,
        member -> Text,
        agreement -> Integer,
        funder -> Text,
        price -> BigInt,
        currency -> Text,
        at_redemption -> Bool,
        prepaid -> Bool,
        issued -> BigInt,
        remaining -> BigInt,
        charged -> BigInt,
        reversed -> BigInt,
        expired -> BigInt,
        expired_paid -> BigInt,
        lent -> BigInt,
        expires_at -> BigInt,
        due_at -> BigInt,
    }
}

diesel::table! {
    account (programme, member) {
        programme -> Text,
        member -> Text,
        points -> BigInt,
        debt -> BigInt,
        open_lots -> BigInt,
        lending_lots -> BigInt,
    }
}

diesel::table! {
    hold (seq) {
        seq -> BigInt,
        programme -> Text,
        member -> Text,
        points -> BigInt,
        lots -> Text,
        expires_at -> BigInt,
        is_open -> Bool,
        lapsed -> Bool,
    }
}

diesel::table! {
    reversal (seq) {
        seq -> BigInt,
        points -> BigInt,
        spend -> BigInt,
    }
}

diesel::table! {
    limit_use (agreement, member, business_date) {
        agreement -> Integer,
        member -> Text,
        business_date -> Text,
        points -> BigInt,
    }
}

diesel::table! {
    position (business_date, debtor, creditor, currency) {
        business_date -> Text,
        debtor -> Text,
        creditor -> Text,
        currency -> Text,
        micros -> BigInt,
    }
}

diesel::table! {
    exposure (partner, currency) {
        partner -> Text,
        currency -> Text,
        micros -> BigInt,
    }
}

diesel::table! {
    obligation (business_date, party_a, party_b, currency) {
        business_date -> Text,
        party_a -> Text,
        party_b -> Text,
        currency -> Text,
        a_owes -> BigInt,
        b_owes -> BigInt,
        carried_in -> BigInt,
        net -> BigInt,
        carried_out -> BigInt,
    }
}

diesel::table! {
    document (hash) {
        hash -> Text,
        kind -> Text,
        state -> Text,
        proposer -> Text,
        counterparty -> Text,
        payload -> Text,
        proposed_at -> BigInt,
        changed_at -> BigInt,
    }
}

diesel::table! {
    document_signature (document, role) {
        document -> Text,
        role -> Text,
        signer -> Text,
        kid -> Text,
        protected -> Text,
        signature -> Text,
        signed_at -> BigInt,
    }
}

diesel::table! {
    document_act (document, place) {
        document -> Text,
        place -> BigInt,
        action -> Text,
        signer -> Text,
        bytes -> Text,
        acted_at -> BigInt,
    }
}

diesel::table! {
    person (name) {
        name -> Text,
        kid -> Text,
        public_key -> Text,
        added_at -> BigInt,
        added_by -> Text,
        left_at -> Nullable<BigInt>,
        left_by -> Nullable<Text>,
    }
}

diesel::table! {
    event (no) {
        no -> BigInt,
        at -> BigInt,
        recipient -> Text,
        kind -> Text,
        subject -> Text,
        facts -> Text,
    }
}

diesel::table! {
    quote (seq) {
        seq -> BigInt,
        programme -> Text,
        to_programme -> Text,
        offered -> BigInt,
        points -> BigInt,
        credited -> BigInt,
        bonus -> BigInt,
        agreement -> Integer,
        rate -> Integer,
        bonus_rate -> Nullable<Integer>,
        expires_at -> BigInt,
        is_open -> Bool,
    }
}

diesel::table! {
    pending_exchange (seq) {
        seq -> BigInt,
        sender -> Text,
        id -> Text,
        to_issuer -> Text,
        state -> Text,
        instructed_at -> BigInt,
        deadline -> BigInt,
        queries -> Integer,
        next_query_at -> BigInt,
        debtor -> Text,
        creditor -> Text,
        currency -> Text,
        micros -> BigInt,
        answered_at -> Nullable<BigInt>,
        answer_seq -> Nullable<BigInt>,
        answer -> Nullable<Text>,
    }
}

diesel::table! {
    tls_key (spki_sha256) {
        spki_sha256 -> Text,
        partner -> Text,
        registered_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
        revoked_by -> Nullable<Text>,
        revoked_why -> Nullable<Text>,
        revocation -> Nullable<Text>,
    }
}

diesel::table! {
    invitation (token_sha256) {
        token_sha256 -> Text,
        partner -> Text,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    prepaid (agreement) {
        agreement -> Integer,
        partner -> Text,
        programme -> Text,
        bought -> BigInt,
        remaining -> BigInt,
    }
}

diesel::table! {
    clearing_key (kid) {
        kid -> Text,
        public_key -> Text,
        since -> BigInt,
        origin -> Nullable<Text>,
    }
}

diesel::table! {
    statement_file (business_date, name) {
        business_date -> Text,
        name -> Text,
        sha256 -> Text,
        bytes -> Text,
    }
}

diesel::table! {
    reserved (debtor, creditor, currency) {
        debtor -> Text,
        creditor -> Text,
        currency -> Text,
        micros -> BigInt,
    }
}

diesel::table! {
    holders (programme) {
        programme -> Text,
        members -> BigInt,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    entry,
    log_tile,
    holders,
    reserved,
    statement_file,
    prepaid,
    document,
    document_signature,
    document_act,
    person,
    event,
    partner,
    net_debit_cap,
    signing_key,
    programme,
    agreement,
    rate,
    head,
    calendar,
    settlement_window,
    signed_batch,
    message,
    posting,
    lot,
    account,
    hold,
    reversal,
    limit_use,
    position,
    exposure,
    obligation,
    pending_exchange,
    quote,
    dispute,
    taken_out
);
