//! `mutants [TEXT]`: does the simulator catch each mutant (with the text in its name, or as its rule)?
//! `mutants check [TEXT]`: does each apply and compile?
//! `mutants hunt FROM N`: runs up to N seeds, and says which one first breaks which invariant.
//!
//! The first copies the workspace to `target/mutants`, applies one mutant after the other there,
//! builds this program and lets it hunt. The exit code is 1 unless each mutant was caught. The second
//! applies as many at a time as there is room for, and builds nothing.

use simulator::mutants::{MUTANTS, Mutant};
use simulator::run::seed;
use simulator::seeds::seeds;
use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;
use std::{env, fs, io};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What the build needs.
const NEEDED: [&str; 4] = ["Cargo.toml", "Cargo.lock", "native", "priv/schema"];
/// So many seeds of production's code must break nothing.
const HEALTHY: &str = "20000";
/// A mutant that survives so many seeds is not caught.
const LIMIT: &str = "20000";
/// This program with a mutant inside, and without, where the copy is built.
const MUTATED: &str = "target/release/mutants";
const ORIGINAL: &str = "target/release/original";

fn main() -> ExitCode {
    // A panic is reported like any other failure.
    std::panic::set_hook(Box::new(|_| ()));
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match arguments[..] {
        ["hunt", from, count] => hunt(from, count),
        ["check"] => check(""),
        ["check", name] => check(name),
        [] => all(""),
        [name] => all(name),
        _ => Err("usage: mutants [TEXT] | mutants check [TEXT] | mutants hunt FROM N".into()),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Prints a line if a seed breaks an invariant.
fn hunt(from: &str, count: &str) -> Result<bool> {
    let failed = seeds(from.parse()?, count.parse()?).failed;
    if let Some((number, Err(violation))) = failed.map(|number| (number, seed(number).result)) {
        println!("{number}\t{}", violation.invariant);
    }
    Ok(true)
}

/// Tries the mutants. `false`: one of them was not caught.
fn all(name: &str) -> Result<bool> {
    let copy = Copy::new();
    let wanted: Vec<&Mutant> = wanted(name);
    for mutant in &wanted {
        mutant.apply(&fs::read_to_string(copy.root.join(mutant.file))?)?;
    }
    copy.restore()?;
    copy.build()?;
    copy.keep_healthy()?;
    copy.expect_healthy("0", HEALTHY)?;
    println!("{:64} | {:8} | {:6} | {:27} | seconds", "mutant", "rule", "seed", "reported");
    let mut caught = 0;
    for mutant in &wanted {
        let began = Instant::now();
        copy.restore()?;
        copy.mutate(mutant)?;
        copy.build().map_err(|error| format!("mutant \"{}\": {error}", mutant.name))?;
        let found = copy.hunt(MUTATED, "0", LIMIT)?;
        if let Some((seed, _)) = &found {
            copy.expect_healthy(seed, "1")?;
        }
        caught += usize::from(found.is_some());
        let (seed, reported) = found.unwrap_or(("-".into(), "NOT CAUGHT".into()));
        let (Mutant { name, rule, .. }, seconds) = (mutant, began.elapsed().as_secs());
        println!("{name:64} | {rule:8} | {seed:>6} | {reported:27} | {seconds}");
    }
    copy.restore()?;
    println!("{caught} of {} mutants caught", wanted.len());
    Ok(caught == wanted.len())
}

/// Those with a text in their name, or of a rule.
fn wanted(text: &str) -> Vec<&'static Mutant> {
    MUTANTS.iter().filter(|it| it.name.contains(text) || it.rule == text).collect()
}

/// Does each mutant apply and compile? Those with different places in the code do so together.
fn check(name: &str) -> Result<bool> {
    let copy = Copy::new();
    let mut left: Vec<&Mutant> = wanted(name);
    let all = left.len();
    while let Some((first, others)) = left.split_first() {
        copy.restore()?;
        copy.mutate(first)?;
        left = others.iter().copied().filter(|mutant| copy.mutate(mutant).is_err()).collect();
        copy.cargo("check")?;
    }
    println!("{all} mutants apply and compile");
    Ok(true)
}

/// A copy of the workspace.
struct Copy {
    root: PathBuf,
    path: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let path = root.join("target/mutants");
        Copy { root, path }
    }

    /// Makes it the same as the original. What is the same keeps its time, so that Cargo builds only
    /// what changed.
    fn restore(&self) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        NEEDED.iter().try_for_each(|name| mirror(&self.root.join(name), &self.path.join(name)))
    }

    fn mutate(&self, mutant: &Mutant) -> Result<()> {
        let file = self.path.join(mutant.file);
        let mutated = mutant.apply(&fs::read_to_string(&file)?)?;
        Ok(fs::write(file, mutated)?)
    }

    fn build(&self) -> Result<()> {
        self.cargo("build")
    }

    fn cargo(&self, command: &str) -> Result<()> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args([command, "--release", "--quiet", "--locked", "-p", "simulator"])
            .args(["--bin", "mutants"])
            .current_dir(&self.path)
            .env("CARGO_TARGET_DIR", "target")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
            // What a mutant leaves unused is no matter.
            .env("RUSTFLAGS", "--cap-lints=allow")
            .output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(format!("cargo {command}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    fn keep_healthy(&self) -> io::Result<()> {
        fs::copy(self.path.join(MUTATED), self.path.join(ORIGINAL)).map(drop)
    }

    fn expect_healthy(&self, from: &str, count: &str) -> Result<()> {
        match self.hunt(ORIGINAL, from, count)? {
            Some((seed, invariant)) => {
                Err(format!("without any mutant seed {seed} breaks {invariant}").into())
            }
            None => Ok(()),
        }
    }

    /// The first of so many seeds that breaks an invariant, and that one.
    fn hunt(&self, program: &str, from: &str, count: &str) -> Result<Option<(String, String)>> {
        let output = Command::new(self.path.join(program)).args(["hunt", from, count]).output()?;
        if !output.status.success() {
            return Err(format!("the hunt ended with {}", output.status).into());
        }
        let found = String::from_utf8(output.stdout)?;
        let found = found.trim_end().split_once('\t');
        Ok(found.map(|(seed, invariant)| (seed.to_owned(), invariant.to_owned())))
    }
}

fn mirror(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        let content = fs::read(from)?;
        let same = fs::read(to).is_ok_and(|other| other == content);
        return if same { Ok(()) } else { fs::write(to, content) };
    }
    fs::create_dir_all(to)?;
    let names = names(from)?;
    names.iter().try_for_each(|name| mirror(&from.join(name), &to.join(name)))?;
    for name in self::names(to)?.iter().filter(|name| !names.contains(name)) {
        let gone = to.join(name);
        if gone.is_dir() { fs::remove_dir_all(gone) } else { fs::remove_file(gone) }?;
    }
    Ok(())
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect()
}
