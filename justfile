# Every command that CI runs, by name. `just` lists them; `just ci` runs all, as CI does.

_default:
    @just --list

# Everything, in CI's order
ci:
    .ci/run

# One step of CI by its name: fmt, clippy, alone, doc, firmware, deny, udev, types or tests
step name:
    .ci/run {{ name }}

# Format all sources
fmt:
    cargo fmt --all

# Lints of all targets, warnings denied
clippy:
    .ci/run clippy

# Each crate checked by itself: a feature that another crate switched on hides breakage
alone:
    .ci/run alone

# The API documentation, warnings denied
doc:
    .ci/run doc

# `shared` for a Cortex-M4, with and without a heap
firmware:
    .ci/run firmware

# Licences, sources and banned crates of all dependencies
deny:
    .ci/run deny

# The udev rules, as far as this machine's udev can check them
udev:
    udev/check.sh

# The client library's types, against uses of them
types:
    .ci/run types

# All tests that need nothing but a Rust toolchain
test *arguments:
    cargo test --workspace {{ arguments }}

# Every test, whole-system ones too; a name filters
hil *filter:
    ./hil-tests/run {{ filter }}

# Runs and mishaps at random, repeated by seed: just soak --rounds 200 --seed 7
soak *arguments:
    ./hil-tests/soak {{ arguments }}

# What the engine alone costs per step
bench-engine *arguments:
    cargo bench -p rigwire --bench scheduling -- {{ arguments }}

# What the whole system adds to the devices' own time, and four boards on one meter
bench-runs *arguments:
    cargo build --release --workspace --bins
    RIGWIRE_HIL_LOG=warn target/release/bench-runs {{ arguments }}

# What previews cost: pictures a second at a watcher, and processor time for each
bench-previews *arguments:
    cargo build --release --workspace --bins
    RIGWIRE_HIL_LOG=warn target/release/bench-previews {{ arguments }}

# Rewrite the expected outputs that tests compare with; read the diff before you commit it
bless:
    UPDATE_EXPECT=1 cargo test --workspace
