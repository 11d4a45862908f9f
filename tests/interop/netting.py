"""Nets ledgers again with exact fractions, by what docs/STATEMENTS.md says of obligations, conversions, net positions and payments.

A ledger is a list of windows of gross positions and rates, and what the service made of each. The answer is a list of complaints for each ledger.
"""

import json
import sys
from collections import defaultdict
from fractions import Fraction

DECIMALS = {"HKD": 2, "CNY": 2, "JPY": 0, "KWD": 3}
CLEARING = "clearing"
# Up to so many parties with a net position the fewest direct payments are looked for.
FEW = 10


def money(text):
    return Fraction(text)


def rounded(exact, decimals):
    """To the minor unit; a half goes to the even one (Python rounds fractions so)."""
    return Fraction(round(exact * 10**decimals), 10**decimals)


def obligations(gross, carried):
    """Pair by pair: (currency, a, b) -> (a owes, b owes, carried in, net, carried out); positive where a owes b."""
    owes = defaultdict(Fraction)
    pairs = {key for key, residue in carried.items() if residue != 0}
    for debtor, creditor, currency, amount in gross:
        if debtor != creditor and money(amount) != 0:
            owes[currency, debtor, creditor] += money(amount)
            pairs.add((currency, min(debtor, creditor), max(debtor, creditor)))
    made = {}
    for currency, a, b in pairs:
        a_owes, b_owes = owes[currency, a, b], owes[currency, b, a]
        carried_in = carried.get((currency, a, b), Fraction(0))
        exact = a_owes - b_owes + carried_in
        net = rounded(exact, DECIMALS[currency])
        made[currency, a, b] = (a_owes, b_owes, carried_in, net, exact - net)
    return made


def conversions(made, rates):
    """The nets in currencies that have a rate: (currency, a, b) -> (net, rate, payment currency, amount, difference)."""
    converted = {}
    for (currency, a, b), (_, _, _, net, _) in made.items():
        if currency in rates:
            into, rate = rates[currency]
            amount = rounded(net * rate, DECIMALS[into])
            converted[currency, a, b] = (net, rate, into, amount, net * rate - amount)
    return converted


def payable(made, converted):
    """What each pair pays, in the currency in which it does: (currency, a, b) -> net."""
    pays = defaultdict(Fraction)
    for (currency, a, b), (_, _, _, net, _) in made.items():
        if (currency, a, b) not in converted:
            pays[currency, a, b] += net
    for (_, a, b), (_, _, into, amount, _) in converted.items():
        pays[into, a, b] += amount
    return dict(pays)


def carried_on(made, converted):
    """What rounding has left of each pair, in the currency in which it is carried into the next window."""
    left = defaultdict(Fraction)
    for key, (_, _, _, _, residue) in made.items():
        left[key] += residue
    for (_, a, b), (_, _, into, _, difference) in converted.items():
        left[into, a, b] += difference
    return dict(left)


def net_positions(pays):
    """What each party receives over all its pairs; below zero it pays."""
    nets = defaultdict(Fraction)
    for (currency, a, b), net in pays.items():
        nets[currency, a] -= net
        nets[currency, b] += net
    return dict(nets)


def through_clearing(nets):
    """At most one payment for each partner and currency, to or from the clearing account: (currency, payer, payee) -> amount."""
    return {
        (currency, party, CLEARING) if net < 0 else (currency, CLEARING, party): abs(net)
        for (currency, party), net in nets.items()
        if net != 0 and party != CLEARING
    }


def most_groups(nets):
    """Into how many groups that sum to zero these can be split: the first is in some group, and every one that it can be in is tried."""
    if not nets:
        return 0
    first, others = nets[0], nets[1:]
    # The sum of the first with each set of the others: bit by bit, others[k] is in the sets that have bit k.
    sums = [first]
    for net in others:
        sums += [rest + net for rest in sums]
    most = 1
    for chosen, total in enumerate(sums):
        if total == 0 and chosen != len(sums) - 1:
            left = [net for place, net in enumerate(others) if not chosen >> place & 1]
            most = max(most, 1 + most_groups(left))
    return most


def direct_complaints(currency, nets, payments, at_least):
    """That direct payments settle everybody's net position, and that they are as few as there can be."""
    left = dict(nets)
    for payer, payee, amount in payments:
        if money(amount) <= 0 or payer == payee:
            yield f"{currency}: {payer} pays {payee} {amount}"
        left[payer] = left.get(payer, 0) + money(amount)
        left[payee] = left.get(payee, 0) - money(amount)
    for party, rest in left.items():
        if rest != 0:
            yield f"{currency}: {party} has {rest} open after the direct payments"
    open_nets = [int(net * 10**6) for net in nets.values() if net != 0]
    if len(open_nets) <= FEW:
        fewest = len(open_nets) - most_groups(open_nets)
        if len(payments) != fewest or at_least != fewest:
            yield f"{currency}: {len(payments)} direct payments, at least {at_least}, but {fewest} are enough"


def compared(what, ours, theirs):
    """Where two tables differ."""
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            yield f"{what} of {key}: {theirs.get(key)} should be {ours.get(key)}"


def window_complaints(window, carried):
    """What is wrong with what was made of one window, and what it carries on."""
    made = obligations(window["gross"], carried)
    theirs = {(o[0], o[1], o[2]): tuple(money(amount) for amount in o[3:]) for o in window["obligations"]}
    complaints = list(compared("obligation", made, theirs))
    converted = conversions(made, {currency: (into, money(rate)) for currency, into, rate in window["rates"]})
    theirs = {(c[0], c[1], c[2]): (money(c[3]), money(c[4]), c[5], money(c[6]), money(c[7])) for c in window["conversions"]}
    complaints += compared("conversion", converted, theirs)
    nets = net_positions(payable(made, converted))
    complaints += compared("net position", nets, {(currency, party): money(net) for currency, party, net in window["nets"]})
    for currency in {currency for currency, _ in nets}:
        if sum(net for (of, _), net in nets.items() if of == currency) != 0:
            complaints.append(f"{currency}: net positions don't sum to zero")
    theirs = {(currency, payer, payee): money(amount) for currency, payer, payee, amount in window["payments"]}
    complaints += compared("payment", through_clearing(nets), theirs)
    if len(theirs) != len(window["payments"]):
        complaints.append("two payments of one partner in one currency")
    direct = {entry["currency"]: entry for entry in window["direct"]}
    for currency in {currency for currency, _ in nets}:
        entry = direct.get(currency, {"payments": [], "at_least": 0})
        of_currency = {party: net for (of, party), net in nets.items() if of == currency}
        complaints += direct_complaints(currency, of_currency, entry["payments"], entry["at_least"])
    return complaints, carried_on(made, converted)


def ledger_complaints(windows):
    complaints, carried = [], {}
    for number, window in enumerate(windows):
        found, carried = window_complaints(window, carried)
        complaints += [f"window {number}: {complaint}" for complaint in found]
    return complaints


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        answers = [ledger_complaints(json.loads(line)) for line in file]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
