//! No condition and no length of a loop follows from params alone: Mesa's software driver (22.3) compiles such a kernel
//! anew at each dispatch, which takes milliseconds, and keeps them all. `unfolded` in the prelude and the order of what
//! stands beside `&&` help.

use naga::{AddressSpace, Block, Expression, Function, Handle, LocalVariable, Module, Statement};
use std::collections::HashMap;
use vista::engine::device::kernel::{Reflection, shader_names, shader_source};

/// What a value follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum From {
    Constants,
    /// Params too, and nothing else.
    Params,
    /// Anything that differs between workgroups or lanes, or that kernels write.
    Memory,
}

/// One function as it is called from somewhere.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    arguments: Vec<From>,
    locals: HashMap<Handle<LocalVariable>, From>,
    calls: HashMap<Handle<Expression>, From>,
    returned: From,
    found: Vec<naga::Span>,
}

impl Walk<'_> {
    fn of(&self, at: Handle<Expression>) -> From {
        let join = |parts: &[Handle<Expression>]| {
            parts.iter().map(|part| self.of(*part)).max().unwrap_or(From::Constants)
        };
        match &self.function.expressions[at] {
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_) => From::Constants,
            Expression::Compose { components, .. } => join(components),
            Expression::Access { base, index } => join(&[*base, *index]),
            Expression::AccessIndex { base, .. } => self.of(*base),
            Expression::Splat { value, .. } => self.of(*value),
            Expression::Swizzle { vector, .. } => self.of(*vector),
            Expression::FunctionArgument(i) => self.arguments[*i as usize],
            Expression::GlobalVariable(global) => match self.module.global_variables[*global].space {
                AddressSpace::Uniform => From::Params,
                _ => From::Memory,
            },
            Expression::LocalVariable(local) => self.locals.get(local).copied().unwrap_or(From::Constants),
            Expression::Load { pointer } => self.of(*pointer),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => self.of(*expr),
            Expression::Binary { left, right, .. } => join(&[*left, *right]),
            Expression::Select { condition, accept, reject } => join(&[*condition, *accept, *reject]),
            Expression::Relational { argument, .. } => self.of(*argument),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                let parts: Vec<_> = [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().collect();
                join(&parts)
            }
            Expression::CallResult(_) => self.calls.get(&at).copied().unwrap_or(From::Constants),
            _ => From::Memory,
        }
    }

    /// The local variable that a pointer leads into.
    fn root(&self, pointer: Handle<Expression>) -> Option<Handle<LocalVariable>> {
        match &self.function.expressions[pointer] {
            Expression::LocalVariable(local) => Some(*local),
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.root(*base),
            _ => None,
        }
    }

    fn store(&mut self, pointer: Handle<Expression>, value: From) {
        if let Some(local) = self.root(pointer) {
            let known = self.locals.entry(local).or_insert(From::Constants);
            *known = (*known).max(value);
        }
    }

    fn block(&mut self, block: &Block) {
        for (statement, span) in block.span_iter() {
            match statement {
                Statement::Block(inner) => self.block(inner),
                Statement::If { condition, accept, reject } => {
                    let by = self.of(*condition);
                    if by == From::Params {
                        self.found.push(*span);
                    }
                    self.block(accept);
                    self.block(reject);
                }
                Statement::Switch { selector, cases } => {
                    let by = self.of(*selector);
                    if by == From::Params {
                        self.found.push(*span);
                    }
                    for case in cases {
                        self.block(&case.body);
                    }
                }
                Statement::Loop { body, continuing, break_if } => {
                    if break_if.is_some_and(|by| self.of(by) == From::Params) {
                        self.found.push(*span);
                    }
                    self.block(body);
                    self.block(continuing);
                }
                Statement::Store { pointer, value } => {
                    let value = self.of(*value);
                    self.store(*pointer, value);
                }
                Statement::Call { function, arguments, result } => {
                    let from: Vec<From> = arguments.iter().map(|a| self.of(*a)).collect();
                    let inner = walk(self.module, &self.module.functions[*function], from);
                    self.found.extend(inner.found);
                    if let Some(result) = result {
                        self.calls.insert(*result, inner.returned);
                    }
                    // What is passed by pointer may be written.
                    for argument in arguments {
                        self.store(*argument, From::Memory);
                    }
                }
                Statement::Return { value: Some(value) } => {
                    let value = self.of(*value);
                    self.returned = self.returned.max(value);
                }
                _ => {}
            }
        }
    }
}

fn walk<'a>(module: &'a Module, function: &'a Function, arguments: Vec<From>) -> Walk<'a> {
    let mut walk = Walk {
        module,
        function,
        arguments,
        locals: HashMap::new(),
        calls: HashMap::new(),
        returned: From::Constants,
        found: Vec::new(),
    };
    // Until nothing is learned of the locals any more.
    loop {
        let before = (walk.locals.clone(), walk.calls.clone());
        walk.found.clear();
        walk.block(&function.body);
        if before == (walk.locals.clone(), walk.calls.clone()) {
            return walk;
        }
    }
}

/// The lines of a shader's text where params alone decide.
fn folded(text: &str, entry: &str) -> Vec<String> {
    let reflection = Reflection::of("shader", text).expect("valid WGSL");
    let module = &reflection.module;
    let entry = module.entry_points.iter().find(|e| e.name == entry).expect("the entry point");
    let arguments = vec![From::Memory; entry.function.arguments.len()];
    let found = walk(module, &entry.function, arguments).found;
    let line = |span: naga::Span| text.lines().nth(span.location(text).line_number as usize - 1);
    found.into_iter().filter_map(line).map(|line| line.trim().to_string()).collect()
}

#[test]
fn no_condition_of_a_shader_follows_from_params_alone() {
    for name in shader_names() {
        let text = shader_source(name).expect("source");
        for entry in &Reflection::of(name, &text).expect("valid WGSL").module.entry_points {
            let found = folded(&text, &entry.name);
            assert!(found.is_empty(), "{name}/{}: {found:#?}: see `unfolded` in prelude.wgsl", entry.name);
        }
    }
}

#[test]
fn conditions_from_params_alone_are_seen_through_calls_variables_and_loops() {
    let text = |body: &str| {
        format!(
            "struct Params {{ n: u32, m: u32 }}
            @group(0) @binding(0) var<uniform> params: Params;
            @group(0) @binding(1) var<storage, read_write> y: array<u32>;
            const ONE = 1u;
            fn unfolded(x: u32, index: u32) -> u32 {{ return x + (index >> 31u); }}
            fn twice(x: u32) -> u32 {{ return 2u * x; }}
            fn is_one(x: u32) -> bool {{ if x == ONE {{ return true; }} return false; }}
            @compute @workgroup_size(64) fn f(@builtin(global_invocation_id) id: vec3<u32>) {{ let i = id.x;
            {body}
            }}"
        )
    };
    for body in [
        "if params.n == 1u { y[i] = 1u; }",
        "if params.n == 1u && i < params.m { y[i] = 1u; }",
        "if i < params.m { if i < params.m && params.n == 1u { y[i] = 1u; } }",
        "for (var k = 0u; k < params.n; k++) { y[i] += k; }",
        "for (var k = params.m; k < min(params.n, 7u); k++) { y[i] += k; }",
        "if twice(params.n) > ONE { y[i] = 1u; }",
        "if is_one(params.n) { y[i] = 1u; }",
        "var t = 3u; if i == 0u { y[0] = 1u; } t += params.n; if t == 4u { y[i] = 1u; }",
        "switch params.n { case 1u: { y[i] = 1u; } default: {} }",
    ] {
        assert!(!folded(&text(body), "f").is_empty(), "{body}");
    }
    for body in [
        "if i < params.n { y[i] = 1u; }",
        "if unfolded(params.n, i) == 1u && i < params.m { y[i] = 1u; }",
        "for (var k = i; k < params.n; k += 64u) { y[i] += k; }",
        "for (var k = 0u; k < 8u; k++) { y[i] += k; }",
        "for (var k = 0u; k < unfolded(params.n, i); k++) { y[i] += k; }",
        "if is_one(y[i]) { y[i] = select(0u, 1u, params.n == 1u); }",
        "var t = 0u; if i == 0u { t = y[1]; } if t == 4u { y[i] = 1u; }",
    ] {
        assert_eq!(folded(&text(body), "f"), [""; 0], "{body}");
    }
}
