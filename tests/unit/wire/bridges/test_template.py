import re
from datetime import UTC, datetime

import pytest

from proxy.core.document import parse
from proxy.wire.bridges.template import Template, TemplateFailed, strict_template

CHATML = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n"
)


def rendered(source, **values):
    return Template(source).render(values)


def test_a_template_as_models_come_with():
    text = rendered(CHATML, messages=[{"role": "user", "content": "é\u2028"}], add_generation_prompt=True)
    assert text == "<|im_start|>user\né\u2028<|im_end|>\n<|im_start|>assistant\n"


def test_the_tags_that_transformers_knows():
    source = "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}"
    assert rendered(source) == "13"
    assert rendered("a{% generation %}{{ b }}{% endgeneration %}c", b="b") == "abc"


def test_json_keeps_text_order_and_numbers_as_python_reads_them():
    value = parse('{"z": "é<&\'", "a": 1.50, "b": 7}'.encode()).value
    assert rendered("{{ value | tojson }}", value=value) == '{"z": "é<&\'", "a": 1.5, "b": 7}'
    assert rendered("{{ value | tojson(indent=1) }}", value={"a": 1}) == '{\n "a": 1\n}'


def test_a_template_can_refuse_and_know_the_date():
    with pytest.raises(TemplateFailed, match="roles must alternate"):
        rendered("{{ raise_exception('roles must alternate') }}")
    assert rendered("{{ strftime_now('%Y') }}") in {str(datetime.now(UTC).year + step) for step in (-1, 0, 1)}


@pytest.mark.parametrize("source", ["{{ ''.__class__ }}", "{{ messages.append(1) }}", "{{ messages[0].x.y }}"])
def test_a_template_reaches_nothing_but_what_it_is_given(source):
    messages: list = [{}]
    try:
        assert re.fullmatch("", rendered(source, messages=messages))
    except TemplateFailed:
        pass
    assert messages == [{}]


def test_what_is_no_template_is_told_with_its_line():
    with pytest.raises(TemplateFailed, match=r"^line 2: "):
        Template("a\n{% if %}")


def test_a_strict_template_names_what_it_does_not_know():
    assert strict_template("Q: {{ prompt }}").render({"prompt": "2+2="}) == "Q: 2+2="
    with pytest.raises(TemplateFailed, match="'promt' is undefined"):
        strict_template("{{ promt }}").render({"prompt": "2+2="})
