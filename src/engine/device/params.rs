//! Params of a kernel by name. A shader's uniform struct is the only place that says where each of them lies:
//!
//! ```text
//! struct Params { rows: u32, columns: u32, factor: f32 }                               // WGSL
//! &[("rows", rows.into()), ("columns", columns.into()), ("factor", factor.into())]     // Rust, in any order
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
mod tests {
    use super::{Layout, Value};

    const WGSL: &str = "struct Params { rows: u32, shift: i32, size: vec2<u32>, factor: f32 }
        @group(0) @binding(0) var<uniform> params: Params;
        @compute @workgroup_size(1) fn main() { _ = params.rows; }";

    fn written(values: &[(&str, Value)]) -> Vec<u8> {
        let module = naga::front::wgsl::parse_str(WGSL).unwrap();
        let (_, variable) = module.global_variables.iter().next().unwrap();
        let mut bytes = vec![9; 3];
        Layout::of(&module, variable).unwrap().write("shader", values, &mut bytes);
        bytes.split_off(3)
    }

    fn all() -> [(&'static str, Value); 4] {
        [
            ("rows", 7usize.into()),
            ("shift", (-2i32).into()),
            ("size", [3u32, 4].into()),
            ("factor", 0.5f32.into()),
        ]
    }

    #[test]
    fn params_lie_where_the_shader_says_in_whatever_order_they_are_given() {
        let words = [7, -2i32 as u32, 3, 4, 0.5f32.to_bits(), 0, 0, 0];
        assert_eq!(written(&all()), words.map(u32::to_ne_bytes).concat());
        let mut reversed = all();
        reversed.reverse();
        assert_eq!(written(&reversed), words.map(u32::to_ne_bytes).concat());
    }

    #[test]
    #[should_panic(expected = "shader.wgsl: no value is given for [\"shift\"]")]
    fn a_member_without_a_value_is_named() {
        let [rows, _, size, factor] = all();
        written(&[rows, size, factor]);
    }

    #[test]
    #[should_panic(expected = "shader.wgsl: rows is given twice")]
    fn a_member_that_is_given_twice_is_named() {
        let [rows, _, size, factor] = all();
        written(&[rows, rows, size, factor]);
    }

    #[test]
    #[should_panic(expected = "shader.wgsl: its params have no member columns")]
    fn a_value_without_a_member_is_named() {
        written(&[("columns", 1u32.into())]);
    }

    #[test]
    #[should_panic(expected = "shader.wgsl: factor is 1 of Float, not 1 of Uint")]
    fn a_value_of_another_type_is_named() {
        written(&[("factor", 1u32.into())]);
    }

    #[test]
    #[should_panic(expected = "shader.wgsl: rows is over 32 bits")]
    fn a_count_over_32_bits_is_named() {
        written(&[("rows", (1usize << 32).into())]);
    }
}
