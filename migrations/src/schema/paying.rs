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
    joined (business_date) {
        business_date -> Text,
        lead -> Text,
        run -> BigInt,
        document -> Text,
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

diesel::table! {
    fx_rate (business_date, currency) {
        business_date -> Text,
        currency -> Text,
        payment_currency -> Text,
        rate -> BigInt,
        document -> Text,
    }
}

diesel::table! {
    conversion (business_date, party_a, party_b, currency) {
        business_date -> Text,
        party_a -> Text,
        party_b -> Text,
        currency -> Text,
        net -> BigInt,
        rate -> BigInt,
        payment_currency -> Text,
        amount -> BigInt,
        difference -> BigInt,
    }
}
