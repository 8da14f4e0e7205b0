//! The rooms of `src/` have one direction, and no module uses another that uses it.
//!
//! Every path in the code, tests left out, is followed to the file that defines what it names, through `pub use`. `docs/ARCHITECTURE.md` has the rooms.

use quote::ToTokens;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::visit::Visit;
use syn::{Attribute, ItemMod, ItemUse, UseName, UseRename, UseTree, Visibility};

/// Rooms in their order: each may use those before it.
const ROOMS: [&str; 15] = [
    "print", "topic", "error", "files", "rng", "shell", "engine", "photos", "interop", "run", "pretrain",
    "transfer", "show", "bench", "cli",
];

/// Modules inside a room that have an order too.
const ENGINE: [&str; 7] = ["device", "tensor", "exchange", "ops", "autograd", "nn", "optim"];

/// A module: the names in its path below the crate, such as `engine`, `ops`, `matmul`.
type Module = Vec<String>;

/// What a file says, by module.
#[derive(Default)]
struct Tree {
    /// Paths that each module uses, as they are written.
    paths: BTreeMap<Module, Vec<Vec<String>>>,
    /// Names that a module passes on, each with the path behind it.
    passed_on: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
    /// `pub use x::*` of a module.
    globs: BTreeMap<Module, Vec<Vec<String>>>,
}

fn rust_files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// What a file says of one module.
#[derive(Default)]
struct Reader {
    paths: Vec<Vec<String>>,
    passed_on: Vec<Vec<String>>,
    /// Modules inside the file around what is read.
    depth: usize,
}

impl Reader {
    /// A path as the file itself would write it: inside a module of the file `super` is the file.
    fn add(&mut self, mut path: Vec<String>, public: bool) {
        let up = path.iter().take_while(|name| *name == "super").count().min(self.depth);
        if up > 0 {
            path.splice(..up, ["self".to_string()]);
        }
        (if public { &mut self.passed_on } else { &mut self.paths }).push(path);
    }

    fn tree(&mut self, public: bool, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.tree(public, &with(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(public, before, tree)),
            UseTree::Glob(_) if public => self.add([before, &["*".to_string()]].concat(), true),
            UseTree::Glob(_) => self.add(before.to_vec(), false),
            UseTree::Name(name) if name.ident == "self" => self.add(before.to_vec(), false),
            UseTree::Name(UseName { ident }) | UseTree::Rename(UseRename { ident, .. }) => {
                self.add(with(ident), public);
            }
        }
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| a.path().is_ident("cfg") && a.to_token_stream().to_string().contains("test"))
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        if !is_test(&item.attrs) {
            self.tree(!matches!(item.vis, Visibility::Inherited), &[], &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            self.depth += 1;
            syn::visit::visit_item_mod(self, item);
            self.depth -= 1;
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if names.len() > 1 {
            self.add(names, false);
        }
        syn::visit::visit_path(self, path);
    }
}

fn read() -> Tree {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    let mut tree = Tree::default();
    for file in files {
        let path = file.strip_prefix(&src).expect("below src").with_extension("");
        let mut module: Module = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        if module.last().is_some_and(|name| name == "tests") {
            continue;
        }
        if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
            module.pop();
        }
        let text = fs::read_to_string(&file).expect("text");
        let mut reader = Reader::default();
        reader.visit_file(&syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display())));
        for path in reader.passed_on {
            let (name, before) = path.split_last().expect("a name");
            if name == "*" {
                tree.globs.entry(module.clone()).or_default().push(before.to_vec());
            } else {
                tree.passed_on.entry(module.clone()).or_default().insert(name.clone(), path);
            }
        }
        tree.paths.insert(module, reader.paths);
    }
    tree
}

impl Tree {
    /// The module that defines what a path in `module` names; `None` for another crate.
    fn target(&self, module: &Module, path: &[String], depth: usize) -> Option<Module> {
        if depth > 12 {
            return None;
        }
        let mut at: Module = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            // A path may begin with a child of the module.
            first if self.paths.contains_key(&[module.clone(), vec![first.to_string()]].concat()) => {
                return self.walk([module.clone(), vec![first.to_string()]].concat(), &path[1..], depth);
            }
            _ => return None,
        };
        let mut rest = &path[1..];
        while rest.first().is_some_and(|name| name == "super") {
            at.pop();
            rest = &rest[1..];
        }
        self.walk(at, rest, depth)
    }

    fn walk(&self, mut at: Module, mut rest: &[String], depth: usize) -> Option<Module> {
        while let Some(name) = rest.first() {
            let child = [at.clone(), vec![name.clone()]].concat();
            if self.paths.contains_key(&child) {
                (at, rest) = (child, &rest[1..]);
                continue;
            }
            if let Some(path) = self.passed_on.get(&at).and_then(|names| names.get(name)) {
                return self.target(&at, path, depth + 1);
            }
            let through = self.globs.get(&at).into_iter().flatten();
            return through
                .filter_map(|glob| self.target(&at, &[glob.clone(), rest.to_vec()].concat(), depth + 1))
                .next()
                .or(Some(at));
        }
        Some(at)
    }

    /// The modules that each module uses.
    fn arrows(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let arrows = |(module, paths): (&Module, &Vec<Vec<String>>)| {
            let targets = paths.iter().filter_map(|path| self.target(module, path, 0));
            (module.clone(), targets.filter(|target| target != module && !target.is_empty()).collect())
        };
        self.paths.iter().map(arrows).collect()
    }
}

fn place(order: &[&str], module: &Module, level: usize) -> Option<usize> {
    order.iter().position(|room| module.get(level).is_some_and(|name| name == room))
}

#[test]
fn every_room_uses_only_those_before_it() {
    let mut wrong = Vec::new();
    for (module, targets) in read().arrows() {
        for target in targets {
            let rooms = [&module, &target].map(|m| place(&ROOMS, m, 0));
            if let [Some(here), Some(there)] = rooms
                && here < there
            {
                wrong.push(format!("{} uses {}", module.join("::"), target.join("::")));
            }
            if module[..1] == ["engine"] && target[..1] == ["engine"] {
                let parts = [&module, &target].map(|m| place(&ENGINE, m, 1));
                if let [Some(here), Some(there)] = parts
                    && here < there
                    && !is_known([&module, &target])
                {
                    wrong.push(format!("{} uses {}", module.join("::"), target.join("::")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "against the order of the rooms:\n{}", wrong.join("\n"));
}

/// Circles that are still there. A circle that is gone must leave the list, and none may come.
const KNOWN: [&str; 1] = [
    "engine::device engine::device::cpu engine::device::deferred engine::device::gpu engine::device::kernel \
     engine::device::recorder engine::device::trace engine::tensor",
];

/// Whether both are in one of those circles.
fn is_known(modules: [&Module; 2]) -> bool {
    let names = modules.map(|module| module.join("::"));
    KNOWN.iter().any(|circle| names.iter().all(|name| circle.split_whitespace().any(|known| known == name)))
}

#[test]
fn no_module_uses_one_that_uses_it() {
    let arrows = read().arrows();
    let mut reached: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for module in arrows.keys() {
        let (mut seen, mut open) = (BTreeSet::new(), vec![module]);
        while let Some(module) = open.pop() {
            open.extend(arrows.get(module).into_iter().flatten().filter(|target| seen.insert(*target)));
        }
        reached.insert(module, seen);
    }
    let mut circles = BTreeSet::new();
    for (module, targets) in &reached {
        let back =
            targets.iter().filter(|target| reached.get(*target).is_some_and(|seen| seen.contains(module)));
        let circle: BTreeSet<String> = back.map(|module| module.join("::")).collect();
        if circle.len() > 1 {
            circles.insert(circle.into_iter().collect::<Vec<_>>().join(" "));
        }
    }
    let circles: Vec<&str> = circles.iter().map(String::as_str).collect();
    assert_eq!(circles, KNOWN, "circles of modules:\n{}", circles.join("\n"));
}

#[test]
fn the_reader_of_paths_sees_what_is_there() {
    let arrows = read().arrows();
    let module = |path: &str| path.split("::").map(String::from).collect::<Module>();
    let uses = |from: &str, to: &str| arrows[&module(from)].contains(&module(to));
    assert!(uses("pretrain::step", "engine::optim::rates"), "through two `pub use`");
    assert!(uses("pretrain::methods::mls", "pretrain::methods::moco"), "a sister");
    assert!(!uses("engine::nn::linear", "pretrain::step"));
}

/// Pages of the documentation: public modules all the way up, each with its file.
fn pages(folder: &Path, file: &Path, into: &mut Vec<PathBuf>) {
    into.push(file.to_path_buf());
    let text = fs::read_to_string(file).expect("text");
    for item in syn::parse_file(&text).expect("Rust").items {
        let syn::Item::Mod(ItemMod { vis: Visibility::Public(_), ident, content: None, .. }) = item else {
            continue;
        };
        let below = folder.join(ident.to_string());
        let file = [below.with_extension("rs"), below.join("mod.rs")].into_iter().find(|file| file.is_file());
        pages(&below, &file.expect("the module's file"), into);
    }
}

#[test]
fn every_public_modules_page_has_an_example_that_runs() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    pages(&src, &src.join("lib.rs"), &mut all);
    let lacks = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("text");
        !text.lines().take_while(|line| line.starts_with("//!")).any(|line| line == "//! ```")
    };
    let without: Vec<PathBuf> = all.iter().filter(|file| lacks(file)).cloned().collect();
    assert!(without.is_empty() && all.len() > 60, "no example in {without:?}, of {} pages", all.len());
}
