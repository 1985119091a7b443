#!/usr/bin/env python3
"""A harmonic sweep of a beam: a solver that a procedure starts by process.run. Argument: how many frequencies."""
import csv, math, os, sys

cases = int(sys.argv[1]) if len(sys.argv) > 1 else 21
print("::rigwire phase meshing Beam, 40 elements")
rows = []
for case in range(1, cases + 1):
    hertz = 10.0 * 100.0 ** (case / cases)
    response = 1.0 / math.hypot(1.0 - (hertz / 120.0) ** 2, 0.04 * hertz / 120.0)
    rows.append((hertz, response))
    print(f"::rigwire progress {90 * case / cases:.0f} phase=solving Harmonic sweep: {case}/{cases}")
    print(f"::rigwire metric response {response:.6g}")
print("::rigwire progress 95 phase=postprocessing Writing the table")
with open(os.path.join(os.environ["RIGWIRE_WORK"], "sweep.csv"), "w", newline="") as table:
    csv.writer(table).writerows([("frequency [Hz]", "response"), *rows])
print("::rigwire artifact sweep.csv")
print(f"::rigwire output peak {max(response for _, response in rows):.6g}")
