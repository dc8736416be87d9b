"""Answers in the many ways in which models give them: a function of the sample's number, some right, some wrong."""

from fractions import Fraction

_THOUGHT = "First we add the 12 apples to the 7 pears, which gives 12+7=<<12+7=19>>19 pieces of fruit. "


def gsm8k_answer(number: int, right: str) -> str:
    """A solution of a word problem whose answer is `right`, an integer that may have thousands separators."""
    value = int(right.replace(",", ""))
    said = value if number % 3 else value + 1 + number % 5
    grouped = f"{said:,}"
    styles = [
        f"{_THOUGHT}\n#### {said}",
        f"{_THOUGHT}\n#### {grouped}",
        f"{_THOUGHT}\n#### {said}.",
        f"{_THOUGHT}\n#### {said}.00",
        f"{_THOUGHT}\n#### ${grouped}",
        f"{_THOUGHT}\n####{said}",
        f"{_THOUGHT}\n#### {said} apples",
        f"{_THOUGHT}\n#### 19\nNo, wait, that is wrong.\n#### {said}",
        f"{_THOUGHT}\n\n#### {said}\n\nQuestion 2: What about 3 more?",
        f"{_THOUGHT}The answer is {said}.",
        f"{_THOUGHT}The answer is {grouped}",
        f"{_THOUGHT}So she makes ${said} every day.",
        f"{_THOUGHT}So she makes **${grouped}**.",
        f"{_THOUGHT}So the final answer is \\boxed{{{said}}}.",
        f"{_THOUGHT}$$\\boxed{{{grouped}}}$$",
        f"{_THOUGHT}Therefore \\( x = {said} \\).",
        f"{_THOUGHT}That is {said}%.",
        f"{_THOUGHT}That is {said} dollars and 50 cents.",
        f"The answer is {said}. Let me check: 5 * 4 = 20, and 20 is not 21.",
        f"{said}",
        f"-{said}",
        f"{_THOUGHT}\n#### -{said}",
        f"{_THOUGHT}\n#### {said}/1",
        f"{_THOUGHT}It takes {said}hours...",
        f"The total is {said},",
        f"# Answer\n\n{said}\n",
        "I am sorry, but I cannot answer that.",
        "",
        "#### nineteen",
        f"<think>Let us see: 3 + 4 = 7.</think>\n\n#### {said}",
        f"{_THOUGHT}A: {Fraction(said, 2) * 2}\n\n",
        f"{_THOUGHT}In total, {said} . ",
        "$ . ,",
    ]
    return styles[number % len(styles)]


def mmlu_pro_answer(number: int, right: str, options: list[str]) -> str:
    """An answer to a multiple-choice question whose right letter is `right`."""
    letters = "ABCDEFGHIJ"[: len(options)]
    letter = right if number % 2 else letters[(letters.index(right) + 1 + number % 3) % len(letters)]
    option = options[letters.index(letter)]
    styles = [
        f"We know that {option}. The answer is ({letter}).",
        f"The answer is {letter}.",
        f"the answer is ({letter})",
        f"So the correct answer is ({letter}) {option}",
        f"The answer is: ({letter})",
        f"The answer is **({letter})**.",
        f"Answer: {letter}",
        f"answer: {letter}. {option}",
        f"**Answer:** {letter}",
        f"{letter}",
        f"({letter})",
        f"{letter}. {option}",
        f"\\boxed{{{letter}}}",
        f"The answer is (A), no, that is wrong: the answer is ({letter}).",
        f"The final answer is $\\boxed{{\\text{{{letter}}}}}$.",
        f"The answer is {letter.lower()}.",
        f"THE ANSWER IS ({letter})",
        f"The answer is ({letter}",
        f"The answer is\n({letter})",
        f"The answer is not {letters[0]}; I would choose {letter}",
        "I do not know.",
        "",
        f"The best choice is option {letter}",
        f"<think>Is it B? The answer is (B)?</think> The answer is ({letter}).",
        f"The answer is {option}.",
    ]
    return styles[number % len(styles)]
