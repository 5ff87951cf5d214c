//! No file over 500 lines, no function over 60, no `mod.rs`, a header in each file.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, ImplItemFn, ItemFn, Signature, TraitItemFn};

use crate::sources::sources;

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 60;

#[test]
fn files_are_short() {
    let long: Vec<_> = sources()
        .iter()
        .map(|source| (source.path.clone(), source.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES)
        .collect();
    assert!(long.is_empty(), "over {FILE_LINES} lines: {long:?}");
}

#[test]
fn functions_are_short() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| source.is_rust())
        .flat_map(|source| {
            long_functions(&source.syntax())
                .into_iter()
                .map(|(name, lines)| format!("{} {name}: {lines}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(long.is_empty(), "over {FUNCTION_LINES} lines: {long:#?}");
}

#[test]
fn the_function_cap_counts_lines() {
    let body = "let x = 1;\n".repeat(FUNCTION_LINES - 1);
    let fits = syn::parse_file(&format!("fn f() {{\n{body}}}")).unwrap();
    assert_eq!(
        long_functions(&fits),
        [("f".to_owned(), FUNCTION_LINES + 1)]
    );
    let body = "let x = 1;\n".repeat(FUNCTION_LINES - 2);
    let fits = syn::parse_file(&format!("/// Long\n/// words.\nfn f() {{\n{body}}}")).unwrap();
    assert_eq!(long_functions(&fits), []);
}

#[test]
fn no_file_is_named_mod() {
    let named: Vec<_> = sources()
        .into_iter()
        .map(|source| source.path)
        .filter(|path| path.ends_with("/mod.rs"))
        .collect();
    assert!(named.is_empty(), "write foo.rs beside foo/: {named:?}");
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.is_rust() && !source.text.trim_start().starts_with("//!"))
        .map(|source| source.path)
        .collect();
    assert!(silent.is_empty(), "without a //! header: {silent:?}");
}

fn long_functions(file: &syn::File) -> Vec<(String, usize)> {
    let mut functions = Functions { long: Vec::new() };
    functions.visit_file(file);
    functions.long
}

/// Collects the functions that are over the cap, without their attributes and docs.
struct Functions {
    long: Vec<(String, usize)>,
}

impl Functions {
    fn measure(&mut self, signature: &Signature, block: &Block) {
        let lines = block.span().end().line - signature.span().start().line + 1;
        if lines > FUNCTION_LINES {
            self.long.push((signature.ident.to_string(), lines));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.measure(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
