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
