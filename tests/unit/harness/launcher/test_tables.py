import io

from rich.console import Console

from harness.launcher.tables import FILE_WIDTH, screen, table


def printed(width):
    written = io.StringIO()
    made = table("task", "dataset")
    made.add_row("mmlu_pro_computer_science", "TIGER-Lab/MMLU-Pro")
    Console(file=written, width=width).print(made)
    return written.getvalue()


def test_what_is_too_long_for_the_screen_is_folded_and_whole():
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed(30).splitlines() if "│" in line]
    assert ["".join(parts) for parts in zip(*cells, strict=True)] == ["mmlu_pro_computer_science", "TIGER-Lab/MMLU-Pro"]


def test_a_pipe_gets_every_row_on_one_line(capsys):
    assert screen().width == FILE_WIDTH
    made = table("task")
    made.add_row("x" * 500)
    screen().print(made)
    assert "x" * 500 in capsys.readouterr().out
