//! The map of tables that each request looks into.
//!
//! Its hash is seeded and cheap, and not made to withstand somebody who chooses the keys that are put
//! in: keys come from control and from ourselves, a client only asks for them.

use std::collections::HashMap;

/// A map for keys that no client chooses.
pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
