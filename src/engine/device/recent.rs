//! A map that forgets what was not asked for lately.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps the `room` different values that were asked for last, and at most as many older ones.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    room: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    made: usize,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    pub fn new(room: usize) -> Recent<K, V> {
        Recent { room, young: HashMap::new(), old: HashMap::new(), made: 0 }
    }

    /// The value of a key, made if it is not kept.
    pub fn get_or_make(&mut self, key: K, make: impl FnOnce(&K) -> V) -> V {
        if let Some(value) = self.young.get(&key) {
            return value.clone();
        }
        if self.young.len() == self.room {
            self.old = std::mem::take(&mut self.young);
        }
        let value = self.old.remove(&key).unwrap_or_else(|| {
            self.made += 1;
            make(&key)
        });
        self.young.insert(key, value.clone());
        value
    }

    /// How many values are kept, and how many were made.
    pub fn count(&self) -> [usize; 2] {
        [self.young.len() + self.old.len(), self.made]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    #[test]
    fn the_last_values_asked_for_are_kept_and_never_more_than_twice_the_room() {
        let mut recent = Recent::new(8);
        let mut rng = StdRng::seed_from_u64(0);
        let mut last: Vec<u64> = Vec::new();
        for _ in 0..10_000 {
            let key = rng.random_range(0..40);
            let must = last.iter().rev().take(8).any(|known| *known == key);
            let value = recent.get_or_make(key, |key| {
                assert!(!must, "{key} was forgotten: {last:?}");
                key * 3
            });
            assert_eq!(value, key * 3);
            last.retain(|known| *known != key);
            last.push(key);
            assert!(recent.count()[0] <= 16);
        }
    }

    #[test]
    fn what_is_asked_for_again_and_again_is_made_once() {
        let mut recent = Recent::new(8);
        for round in 0..1000 {
            (0..7).for_each(|key| recent.get_or_make(key, |_| ()));
            recent.get_or_make(100 + round, |_| ());
        }
        assert_eq!(recent.count()[1], 7 + 1000);
    }
}
