"""The table that the benchmarks print: each figure with its goal."""
import collections

Row = collections.namedtuple("Row", "name value unit least aim low high rate")


class Table:
    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, goal=(None, None), low=None, high=None, rate=""):
        self.rows.append(Row(name, value, unit, *goal, low, high, rate))
        row = self.rows[-1]
        text = lambda number: "" if number is None else f"{number:.3g}"
        spread = "" if low is None else f"{low:.3g} .. {high:.3g}"
        mark = "" if row.least is None else "met" if value >= (row.aim or row.least) else "least met" if value >= row.least else "BELOW"
        print(f"{name:52} {value:8.3g} {unit:14} {text(row.least):>6} {text(row.aim):>6}  {mark:10} {spread:18} {rate}", flush=True)

    def heading(self, text):
        print(f"\n{text}\n{'':52} {'':8} {'':14} {'least':>6} {'aim':>6}", flush=True)
