import json
from typing import get_type_hints

import pytest

from evax.report.record import Result, ResultError, read_results

CONTENT = {
    "name": "hog",
    "method": "student, HOG targets",
    "data": "nih_cxr14_sample",
    "protocol": "clean",
    "recipe": "",
    "findings": ["Mass", "Pneumonia"],
    "auroc_macro": {"value": 0.75, "low": 0.7, "high": 0.8},
    "auroc": {
        "Mass": {"value": 0.7, "low": 0.6, "high": 0.8},
        "Pneumonia": {"value": 0.8, "low": 0.7, "high": 0.9},
    },
    "chosen": {"features": "mean", "strength": 0.01, "auroc_macro": 0.72},
    "trials": [{"features": "mean", "strength": 0.01, "auroc_macro": 0.72}],
    "num_train": 634,
    "num_test": 214,
    "num_test_patients": 140,
    "num_draws": 1000,
    "seed": 0,
    "train_ids_digest": "a" * 64,
    "test_ids_digest": "b" * 64,
    "config_hash": "c" * 64,
    "commit": "d" * 40,
    "command": "python tools/probe.py",
    "comparisons": [],
    "notes": ["tried: nothing else"],
}


def variant(**changes):
    return {**CONTENT, **changes}


def parse(content):
    return Result.from_json(json.dumps(content), "hog.json")


def write(folder, *contents):
    for content in contents:
        (folder / f"{content['name']}.json").write_text(json.dumps(content))


def test_text_comes_back():
    result = parse(CONTENT)
    assert Result.from_json(result.to_json(), "hog.json") == result
    assert json.loads(result.to_json()) == CONTENT


@pytest.mark.parametrize("field", [name for name in get_type_hints(Result) if name in CONTENT])
def test_missing_field_is_named(field):
    content = {key: value for key, value in CONTENT.items() if key != field}
    with pytest.raises(ResultError, match=rf"^hog\.json: field '{field}' is missing$"):
        parse(content)


def test_unknown_field_is_named():
    with pytest.raises(ResultError, match=r"^hog\.json: field 'auroc\.Mass\.width' is unknown; known are value"):
        parse(variant(auroc={**CONTENT["auroc"], "Mass": {"value": 0.7, "low": 0, "high": 1, "width": 1}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_test": "214"}, "field 'num_test' is \"214\", expected int"),
        ({"num_test": True}, "field 'num_test' is true, expected int"),
        ({"notes": "none"}, "field 'notes' is \"none\", expected tuple"),
        ({"notes": [1]}, r"field 'notes\[0\]' is 1, expected str"),
        ({"protocol": "dirty"}, "field 'protocol' is \"dirty\", expected one of"),
        ({"auroc_macro": 0.5}, "field 'auroc_macro' must be an object"),
        ({"auroc_macro": {"value": 0.9, "low": 0, "high": 1}}, "'auroc_macro.value' is not the mean"),
        ({"findings": ["Pneumonia", "Mass"]}, "field 'auroc' must hold exactly the findings"),
        ({"trials": []}, "field 'chosen' is none of 'trials'"),
        ({"protocol": "official"}, "field 'recipe' is code or paper under protocol official"),
        ({"recipe": "code"}, "field 'recipe' is code or paper under protocol official"),
    ],
)
def test_wrong_content_is_one_line_naming_the_field(changes, message):
    with pytest.raises(ResultError, match=f"^hog.json: .*{message}") as caught:
        parse(variant(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", '{"seed": NaN}'])
def test_broken_json_names_the_file(text):
    with pytest.raises(ResultError, match=r"^hog\.json: not valid JSON"):
        Result.from_json(text, "hog.json")


def test_method_without_a_choice_is_allowed():
    assert parse(variant(chosen=None, trials=[])).chosen is None


def test_undefined_finding_leaves_the_mean():
    auroc = {**CONTENT["auroc"], "Mass": {"value": None, "low": None, "high": None}}
    assert parse(variant(auroc=auroc, auroc_macro={"value": 0.8, "low": 0.7, "high": 0.9})).auroc["Mass"].value is None


def test_name_must_be_the_stem(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps(CONTENT))
    with pytest.raises(ResultError, match=r"^other\.json: name is 'hog'"):
        read_results(tmp_path)


def compared(value=0.0, rival="rival"):
    return [{"rival": rival, "auroc_macro": {"value": value, "low": -0.1, "high": 0.1}}]


def test_comparison_within_a_setting_is_read(tmp_path):
    write(tmp_path, variant(comparisons=compared()), variant(name="rival"))
    assert [result.name for result in read_results(tmp_path)] == ["hog", "rival"]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("protocol", {"protocol": "official", "recipe": "code"}),
        ("data", {"data": "phantom"}),
        ("test_ids_digest", {"test_ids_digest": "e" * 64}),
    ],
)
def test_comparison_across_settings_is_refused(tmp_path, field, changes):
    write(tmp_path, variant(comparisons=compared()), variant(name="rival", **changes))
    with pytest.raises(ResultError, match=rf"^hog\.json: compared with rival, whose {field} is"):
        read_results(tmp_path)


def test_comparison_with_nobody_is_refused(tmp_path):
    write(tmp_path, variant(comparisons=compared(rival="ghost")))
    with pytest.raises(ResultError, match="names 'ghost', which has no results file"):
        read_results(tmp_path)


def test_stale_comparison_is_refused(tmp_path):
    write(tmp_path, variant(comparisons=compared(0.02)), variant(name="rival"))
    with pytest.raises(ResultError, match="the difference to rival is stale"):
        read_results(tmp_path)
