//! The test programs and the files that they run among.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A Go installation.
pub(crate) struct Go {
    /// `1.27.4`.
    pub(crate) version: String,
    /// Its folder.
    pub(crate) root: PathBuf,
    /// The folder in which the command runs: that of the library's own module, whose version
    /// settles what GODEBUG defaults to.
    module: PathBuf,
}

impl Go {
    /// Finds a version, or has the module proxy's copy fetched. `module` is a folder with a module
    /// that every version takes.
    pub(crate) fn find(version: &str, module: &Path) -> Result<Self> {
        let mut go =
            Self { version: version.to_owned(), root: PathBuf::new(), module: module.to_owned() };
        go.root = go.output(&["env", "GOROOT"])?.trim().into();
        go.module = go.root.join("src");
        Ok(go)
    }

    fn output(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("go")
            .args(arguments)
            .current_dir(&self.module)
            .env("GOENV", "off")
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .env("GOTOOLCHAIN", format!("go{}", self.version))
            .env("CGO_ENABLED", "0")
            .output()
            .context("start go")?;
        if !output.status.success() {
            bail!("go {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The packages of the standard library that have tests.
    pub(crate) fn packages(&self) -> Result<Vec<String>> {
        let format = "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}";
        let list = self.output(&["list", "-f", format, "std"])?;
        Ok(list.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Builds the test program of a package.
    pub(crate) fn build(&self, package: &str, program: &Path) -> Result<()> {
        self.output(&["test", "-c", "-o", &program.display().to_string(), package]).map(|_| ())
    }

    /// The folder of a package.
    pub(crate) fn folder(&self, package: &str) -> PathBuf {
        self.root.join("src").join(package)
    }
}

/// Packages whose tests read more of Go's own files: paths below GOROOT.
const MORE_FILES: [(&str, &[&str]); 9] = [
    ("path/filepath", &["src/unicode"]),
    ("io/ioutil", &["src/io"]),
    ("math/big/internal", &["src/math/big"]),
    ("go/", &["src"]),
    ("debug/", &["src/internal/obscuretestdata"]),
    ("internal/", &["src/internal"]),
    ("compress/", &["src/compress"]),
    ("image", &["src/image"]),
    ("crypto/", &["src/crypto"]),
];

const FILES: [(&str, &str); 9] = [
    ("usr/bin/one", "a file to be listed\n"),
    ("usr/bin/two", "another\n"),
    ("usr/bin/three", "and one more\n"),
    ("etc/hostname", "eggos\n"),
    (
        "etc/hosts",
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\teggos\n",
    ),
    ("etc/nsswitch.conf", "hosts: files dns\n"),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ("etc/services", "domain\t53/tcp\ndomain\t53/udp\nhttp\t80/tcp\nhttps\t443/tcp\n"),
];

/// Makes a root folder for a package: its sources where they always lie, and what every machine has.
pub(crate) fn make_root(go: &Go, package: &str, root: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for folder in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "usr/bin", "var/tmp"] {
        fs::create_dir_all(root.join(folder))?;
    }
    for folder in ["tmp", "var/tmp"] {
        fs::set_permissions(root.join(folder), fs::Permissions::from_mode(0o1777))?;
    }
    for (path, text) in FILES {
        fs::write(root.join(path), text)?;
    }
    let copies = |path: &Path| -> Result<()> {
        let inside = root.join(path.strip_prefix("/").unwrap_or(path));
        if path.exists() { copy(path, &inside) } else { Ok(()) }
    };
    copies(&go.folder(package))?;
    for above in Path::new(package).ancestors().skip(1) {
        copies(&go.root.join("src").join(above).join("testdata"))?;
    }
    let more = MORE_FILES.iter().filter(|row| package.starts_with(row.0)).flat_map(|row| row.1);
    for path in ["VERSION", "lib/time", "src/go.mod"].iter().chain(more) {
        copies(&go.root.join(path))?;
    }
    Ok(())
}

/// Copies a file or folder, with links as they are. What is copied may be written to.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    let context = || from.display().to_string();
    if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        let _ = fs::remove_file(to);
        symlink(fs::read_link(from)?, to).with_context(context)?;
    } else {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to).with_context(context)?;
        let mode = fs::metadata(to)?.permissions().mode();
        fs::set_permissions(to, fs::Permissions::from_mode(mode | 0o200))?;
    }
    Ok(())
}
