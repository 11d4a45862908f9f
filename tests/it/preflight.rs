//! What the open window would come to is what the night makes of it.

use partner_sdk::PartnerId;
use settlement::Preflight;
use tests::child::command;
use tests::{Backend, World, burn, earn, on_both, with_bonus};

use super::install::PROGRAM;

const MILES: &str = include_str!("networks/miles.toml");

on_both!(the_night_comes_to_the_same);

fn asked(world: &World, more: &[&str]) -> String {
    let folder = world.folder().join("sandbox");
    let output = command(PROGRAM, &folder, None)
        .arg("preflight")
        .args(more)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn preflight(world: &World) -> Preflight {
    serde_json::from_str(&asked(world, &["--json"])).expect("a preflight")
}

fn the_night_comes_to_the_same(backend: Backend) {
    let mut world = World::new(backend, &with_bonus(MILES, "15"));
    assert!(asked(&world, &[]).contains("nobody would owe anything"));
    // The second window takes over what the first has carried.
    for points in ["333", "1111"] {
        for n in 0..4 {
            let member = format!("m{n}");
            world.post("bank", earn("BANK", &member, "700")).expect("accepted");
            world.exchange_at_quote("bank", "BANK", "MILES", &member, "700").expect("accepted");
            world.post("hotel", burn("MILES", &member, points)).expect("accepted");
        }
        let entries = world.entries();
        let before = preflight(&world);
        let text = asked(&world, &[]);
        assert_eq!(world.entries(), entries, "nothing changes by it");
        let settlement = world.close();
        assert_eq!(before.business_date, settlement.business_date);
        assert_eq!(before.obligations, settlement.obligations);
        assert_eq!(before.net_positions, settlement.net_positions);
        // What a payment is called isn't known before the window is netted.
        let mut payments = settlement.payments.clone();
        payments
            .iter_mut()
            .for_each(|payment| (payment.reference, payment.value_date) = (None, None));
        assert_eq!(before.payments, payments);
        assert_eq!(before.reduction, settlement.reduction);
        // One per cent of four times 560, which the bank bears.
        let fees: Vec<_> = before.fees.iter().map(|fee| (fee.debtor.as_str(), fee.amount.as_str())).collect();
        assert_eq!(fees, [("bank", "22.400000")]);
        // The bank pays three others: a payment to each, and it can't be done with fewer.
        let [direct] = before.direct.as_slice() else { panic!("{before:?}") };
        let payees: Vec<&PartnerId> = direct.payments.iter().map(|payment| &payment.payee).collect();
        assert_eq!(
            payees.iter().map(|payee| payee.as_str()).collect::<Vec<_>>(),
            ["airline", "clearing", "hotel"]
        );
        assert_eq!(direct.at_least, 3);
        for expected in [
            format!("If the window of {} closed now", before.business_date),
            "3 payments if partners paid each other (the fewest there can be):".to_owned(),
            "  fee of bank to clearing: 22.400000".to_owned(),
        ] {
            assert!(text.contains(&expected), "{expected}: {text}");
        }
    }
}
