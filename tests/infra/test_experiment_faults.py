"""Somebody who writes a definition for the first time is told which field, what is there, what may be, and what to do."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.experiment_faults import fault_in
from infra.experiments import definition_of
from online_models.errors import InputError
from streams.contracts.experiments import Definition

PLAIN = "name: x\nvariants:\n  - name: a\n  - name: b\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"expected fields with their values \(name, variants, .*\), got nothing in f.yaml; write a line `field: value` for each"),
        ("- a", r"got \['a'\] in f.yaml"),
        ("name: x", r"expected a field `variants` of an experiment: a list of 2 to 20, each fields .*, got none in f.yaml; add it"),
        ("name: x\nvariants: [{name: a}]", r"a list of 2 to 20, .*, got 1 of them at variants in f.yaml"),
        ("name: x\nvariants: {name: a}", r"a list of 2 to 20, .*, got {'name': 'a'} at variants in f.yaml; write a list"),
        ("name: x\nvariants: [a, b]", r"fields with their values \(name, weight, model, .*\), got 'a' at variants\[0\]"),
        ("name: ../etc\n" + PLAIN[8:], r"letters, digits, .*, got '../etc' at name in f.yaml"),
        ("name: 5\n" + PLAIN[8:], "got 5 at name in f.yaml; quote it: \"5\""),
        (PLAIN + "surprise: 1", r"a field of an experiment \(name, variants, unit, .*\), got `surprise` in f.yaml; remove it"),
        (PLAIN + "guardrail: []", "got `guardrail` in f.yaml; write `guardrails`"),
        (PLAIN + "    sorces: [knn]", r"a field of variants\[1\] \(name, weight, .*\), got `sorces` in f.yaml; write `sources`"),
        (PLAIN + "metric: fun", r"one of conversion, ctr, hr@20, revenue, got 'fun' at metric in f.yaml"),
        (PLAIN + "metric: conversions", "; write `conversion`"),
        (PLAIN + "start: soon", r"a date such as 2026-02-01 or .* ms since the epoch, got 'soon' at start in f.yaml"),
        (PLAIN + "end: 1767225600", "got 1767225600 at end in f.yaml; write a date; seconds are to be multiplied by 1000"),
        (PLAIN + "traffic: 50", "a number from 0 to 1, got 50 at traffic in f.yaml; 50 % is 0.5"),
        (PLAIN + "traffic:", "got nothing at traffic in f.yaml; remove the field"),
        (PLAIN + "alpha: 0", "a number from 1e-09 below 0.5, got 0 at alpha"),
        (PLAIN + "    weight: -1", r"a number from 0 to 1000000000, got -1 at variants\[1\].weight"),
        (PLAIN + "    blend: {learned: off}", r"true or false, got 'off' at variants\[1\].blend.learned"),
        (PLAIN + "    blend: {add: {knn: a lot}}", r"a number from -100 to 100, got 'a lot' at variants\[1\].blend.add.knn"),
        (PLAIN + "context: {device: tv}", r"a list, each text, got 'tv' at context.device in f.yaml; write a list: `\[first, second\]`"),
        (PLAIN + "context: {device: [{a: b}]}", r"text, got {'a': 'b'} at context.device\[0\]"),
        (PLAIN + "forced: {u: 3}", "text, got 3 at forced.u"),
        (PLAIN + "forced: [u]", "at most 1000 lines `key: value`, each value text, got ..u.. at forced"),
        ('name: "x\\n"\n' + PLAIN[8:], r"letters, digits, .*, got 'x\\n' at name in f.yaml"),
        ('layer: "l\\n"\n' + PLAIN, r"letters, digits, .*, got 'l\\n' at layer in f.yaml"),
        (PLAIN + "    weight: .nan", r"a number from 0 to 1000000000, got nan at variants\[1\].weight"),
        (PLAIN + "    weight: .inf", r"a number from 0 to 1000000000, got inf at variants\[1\].weight"),
        (PLAIN + "traffic: 1\ntraffic: 0.1", "got the key 'traffic' a second time in f.yaml, line 6"),
        (PLAIN + "    weight: 1\n    weight: 2", "got the key 'weight' a second time in f.yaml, line 6"),
        (PLAIN + 'salt: "\\uD800"', "text of whole characters, got half of a surrogate pair in f.yaml"),
        (PLAIN + "attribution_s: 1.5", "a whole number from 1 to 31622400, got 1.5 at attribution_s"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        definition_of(text, "f.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.floats() | st.sampled_from(["a", "b", "ctr", "user", "knn", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "weight", "add", "u"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from([f for f in Definition.__struct_fields__ if f not in ("name", "variants")]), VALUES, VALUES)
def test_it_refuses_what_the_contract_refuses_and_nothing_else(field: str, value: object, weight: object) -> None:
    table = {"name": "x", "variants": [{"name": "a", "weight": weight}, {"name": "b"}], field: value}
    try:
        msgspec.convert(table, Definition)
    except msgspec.ValidationError:
        assert fault_in(table, "f.yaml") is not None
    else:
        assert fault_in(table, "f.yaml") is None


def test_a_context_may_name_truth_values_and_numbers_and_country_codes_stay_text() -> None:
    d = definition_of(
        PLAIN + "context: {premium: [true, 'false'], floor: [3, 2.5, 4.0], country: [no, on, NO]}", "f.yaml"
    )
    assert d.context == {"premium": ("true", "false"), "floor": ("3", "2.5", "4"), "country": ("no", "on", "NO")}
