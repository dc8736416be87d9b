import pytest

from harness.tasks.template import Template, lettered


def test_a_row_becomes_text():
    assert Template("{{ q }}? {{ n + 1 }}\n").render({"q": "How", "n": 1}) == "How? 2\n"


def test_options_become_lines_with_letters():
    assert Template("{{ choices | letters }}").render({"choices": ["yes", 2]}) == "A. yes\nB. 2"


@pytest.mark.parametrize("options", ["abc", list(range(27))])
def test_letters_want_a_list(options):
    with pytest.raises(ValueError, match="'letters' takes a list of at most 26 options"):
        lettered(options)


def test_a_wrong_template_names_the_line():
    with pytest.raises(ValueError, match="wrong in line 2: "):
        Template("a\n{{ q }")


def test_a_missing_column_is_an_error_that_lists_those_there_are():
    with pytest.raises(ValueError, match="'quetsion' is undefined; the row has: answer, question"):
        Template("{{ quetsion }}").render({"question": 1, "answer": 2})


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ q.__init__.__globals__ }}",
        "{{ rows.append(1) }}",
        "{{ 1 / 0 }}",
        "{{ rows['x'] + 1 }}",
    ],
)
def test_the_sandbox_lets_nothing_out_and_nothing_in(text):
    with pytest.raises(ValueError, match="fails: "):
        Template(text).render({"q": "x", "rows": [1]})
