//! Golden files: what plan renders, byte for byte. `NUBE_BLESS=1` writes them anew.
#![allow(clippy::disallowed_methods, reason = "a test may read the environment")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod machine;

/// Holds `rendered` against the golden file of this name.
fn golden(name: &str, rendered: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("NUBE_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, rendered).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(rendered, want, "{name} differs; NUBE_BLESS=1 accepts the new form");
}
