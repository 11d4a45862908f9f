//! What partners keep for holding their own records against the ledger.

diesel::table! {
    reconciliation_mapping (partner, name) {
        partner -> Text,
        name -> Text,
        mapping -> Text,
        saved_at -> BigInt,
    }
}

diesel::table! {
    reconciliation_resolved (partner, business_date, finding) {
        partner -> Text,
        business_date -> Text,
        finding -> Text,
        note -> Text,
        resolved_at -> BigInt,
        resolved_by -> Text,
    }
}
