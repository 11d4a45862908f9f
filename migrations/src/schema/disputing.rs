//! Disputes of lines of statements.

diesel::table! {
    dispute (hash) {
        hash -> Text,
        business_date -> Text,
        debtor -> Text,
        creditor -> Text,
        currency -> Text,
        kind -> Text,
        agreement -> Text,
        price -> Text,
        sender -> Nullable<Text>,
        id -> Nullable<Text>,
        micros -> BigInt,
        run -> Nullable<BigInt>,
        answer_by -> BigInt,
        upheld -> Nullable<BigInt>,
        ended_by -> Nullable<Text>,
        adjusted_in -> Nullable<Text>,
    }
}
