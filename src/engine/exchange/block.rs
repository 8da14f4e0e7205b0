//! Some ranks in a row as if there were no others, such as those over which one batch of batch norm reaches.

use super::Exchange;
use crate::error::Result;
use std::ops::Range;
use std::rc::Rc;

/// The ranks of this one's block: all ranks are cut into blocks of `size` in a row. Every block makes the same calls.
#[derive(Debug)]
pub struct Block {
    all: Rc<dyn Exchange>,
    size: usize,
}

impl Block {
    /// Blocks of `size` ranks, which divides their number.
    pub fn of(all: Rc<dyn Exchange>, size: usize) -> Rc<dyn Exchange> {
        if size == all.ranks() { all } else { Rc::new(Block { all, size }) }
    }

    fn own(&self) -> Range<usize> {
        let start = self.all.rank() / self.size * self.size;
        start..start + self.size
    }
}

impl Exchange for Block {
    fn rank(&self) -> usize {
        self.all.rank() % self.size
    }

    fn ranks(&self) -> usize {
        self.size
    }

    fn swap(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let mut to_all = vec![&[][..]; self.all.ranks()];
        to_all[self.own()].copy_from_slice(parts);
        Ok(self.all.swap(&to_all)?.drain(self.own()).collect())
    }
}
