//! Params of a kernel by name. A shader's uniform struct is the only place that says where each of them lies:
//!
//! ```text
//! struct Params { rows: u32, columns: u32, factor: f32 }                               // WGSL
//! &[("rows", rows.into()), ("columns", columns.into()), ("factor", factor.into())]     // Rust, in any order
//! ```
//!
//! ```
//! # use vista::engine::device::params::{Param, Value};
//! let params: [Param; 2] = [("rows", 3usize.into()), ("factor", 0.5f32.into())];
//! assert_eq!(params[0].1, Value::from(3u32)); // a count is a u32
//! ```

use naga::{ScalarKind, TypeInner};

/// A member of a shader's uniform struct and its value.
pub type Param = (&'static str, Value);

/// The value of one member: a number, or two to four of them for a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Value {
    kind: ScalarKind,
    /// The bits of each number; those of a count may be too many for a kernel, which is seen when they are written.
    words: [u64; 4],
    len: usize,
}

/// A number that a uniform struct can hold.
pub trait Number: Copy {
    /// What kind WGSL calls it.
    const KIND: ScalarKind;

    /// Its bits.
    fn bits(self) -> u64;
}

impl Number for u32 {
    const KIND: ScalarKind = ScalarKind::Uint;
    fn bits(self) -> u64 {
        u64::from(self)
    }
}

/// A count, which a kernel has as u32.
impl Number for usize {
    const KIND: ScalarKind = ScalarKind::Uint;
    fn bits(self) -> u64 {
        self as u64
    }
}

impl Number for i32 {
    const KIND: ScalarKind = ScalarKind::Sint;
    fn bits(self) -> u64 {
        u64::from(self as u32)
    }
}

impl Number for f32 {
    const KIND: ScalarKind = ScalarKind::Float;
    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }
}

impl<T: Number> From<T> for Value {
    fn from(value: T) -> Value {
        Value::from([value])
    }
}

impl<T: Number, const N: usize> From<[T; N]> for Value {
    fn from(values: [T; N]) -> Value {
        let mut words = [0; 4];
        words.iter_mut().zip(values).for_each(|(word, value)| *word = value.bits());
        Value { kind: T::KIND, words, len: N }
    }
}

/// A uniform struct: what it holds and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Bytes, a multiple of 16.
    pub size: u64,
    members: Vec<Member>,
}

#[derive(Clone, Debug, PartialEq)]
struct Member {
    name: String,
    offset: usize,
    kind: ScalarKind,
    len: usize,
}

impl Layout {
    /// The layout of a uniform variable: a struct of numbers and vectors of them, or a single one.
    pub(super) fn of(module: &naga::Module, variable: &naga::GlobalVariable) -> Option<Layout> {
        let inner = &module.types[variable.ty].inner;
        let member = |name: &Option<String>, offset: u32, inner: &TypeInner| {
            let (scalar, len) = match inner {
                TypeInner::Scalar(scalar) => (scalar, 1),
                TypeInner::Vector { size, scalar } => (scalar, *size as usize),
                _ => return None,
            };
            Some(Member { name: name.clone()?, offset: offset as usize, kind: scalar.kind, len })
        };
        let members: Option<Vec<Member>> = match inner {
            TypeInner::Struct { members, .. } => {
                members.iter().map(|m| member(&m.name, m.offset, &module.types[m.ty].inner)).collect()
            }
            single => member(&variable.name, 0, single).map(|single| vec![single]),
        };
        let size = u64::from(inner.size(module.to_ctx())).next_multiple_of(16);
        Some(Layout { size, members: members? })
    }

    /// Appends the struct with these values, of which each member must have one.
    ///
    /// # Panics
    /// If they are not those of the shader: a name is unknown, missing or given twice, or a type is another.
    pub(super) fn write(&self, shader: &str, values: &[(&str, Value)], into: &mut Vec<u8>) {
        let start = into.len();
        into.resize(start + self.size as usize, 0);
        for (i, (name, value)) in values.iter().enumerate() {
            let member = self.members.iter().find(|member| member.name == *name);
            let member = member.unwrap_or_else(|| panic!("{shader}.wgsl: its params have no member {name}"));
            let (kind, len) = (member.kind, member.len);
            assert!(
                (value.kind, value.len) == (kind, len),
                "{shader}.wgsl: {name} is {len} of {kind:?}, not {} of {:?}",
                value.len,
                value.kind
            );
            let twice = values[..i].iter().any(|(other, _)| other == name);
            assert!(!twice, "{shader}.wgsl: {name} is given twice");
            for (word, to) in value.words[..len].iter().zip(into[start + member.offset..].chunks_mut(4)) {
                let word = u32::try_from(*word).ok();
                let word = word.unwrap_or_else(|| panic!("{shader}.wgsl: {name} is over 32 bits: {value:?}"));
                to.copy_from_slice(&word.to_ne_bytes());
            }
        }
        // All that were given are members, and none was given twice.
        if values.len() < self.members.len() {
            let given = |member: &&Member| values.iter().any(|(name, _)| member.name == *name);
            let missing: Vec<&str> =
                self.members.iter().filter(|member| !given(member)).map(|member| &*member.name).collect();
            panic!("{shader}.wgsl: no value is given for {missing:?}");
        }
    }
}

#[cfg(test)]
#[path = "../../../tests/unit/engine/device/params.rs"]
mod tests;
