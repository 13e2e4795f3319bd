//! How the library is linked.
//!
//! It stays mapped once it is loaded: threads of ours (tokio's, sqlx's) may still run when the VM unloads the module; with their code
//! unmapped that would be a crash of the whole VM. It also keeps the table across a reload.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
        // See src/no_delay.rs.
        println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=connect");
    }
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("macos") {
        // The VM provides the `enif_` functions when it loads the library.
        println!("cargo:rustc-cdylib-link-arg=-undefined");
        println!("cargo:rustc-cdylib-link-arg=dynamic_lookup");
    }
}
