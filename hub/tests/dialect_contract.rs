//! What the five dialects promise their clients: every message's shape, every story's order, and no panic whatever a
//! client sends. `UPDATE_EXPECT=1` rewrites the expected files; their differences are reviewed like code.

mod dialect_support;
