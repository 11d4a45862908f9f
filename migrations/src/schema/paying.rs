//! How windows are paid.

diesel::table! {
    payment (reference) {
        reference -> Text,
        business_date -> Text,
        partner -> Text,
        currency -> Text,
        micros -> BigInt,
        value_date -> Text,
        paid_on -> Nullable<Text>,
        confirmed_at -> Nullable<BigInt>,
        confirmed_by -> Nullable<Text>,
        run -> BigInt,
        replaced_by -> Nullable<Text>,
    }
}

diesel::table! {
    running_position (business_date, partner, currency) {
        business_date -> Text,
        partner -> Text,
        currency -> Text,
        opening -> BigInt,
        confirmed -> BigInt,
        net -> BigInt,
        closing -> BigInt,
        revised -> BigInt,
    }
}

diesel::table! {
    taken_out (business_date, run, debtor, creditor, currency) {
        business_date -> Text,
        run -> BigInt,
        debtor -> Text,
        creditor -> Text,
        currency -> Text,
        micros -> BigInt,
        document -> Text,
        counted_in -> Nullable<Text>,
    }
}

diesel::table! {
    bank_account (partner, currency) {
        partner -> Text,
        currency -> Text,
        holder -> Text,
        account -> Text,
        bank -> Text,
        document -> Text,
    }
}
