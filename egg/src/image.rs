//! What an image holds: a tree of files, from which the archive is written and to which it is read
//! back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Context;
use bundle::config::{self, Config};
use bundle::{Archive, KERNEL_PATH, Kind, Metadata, Writer};

use crate::exit::{Code, Failure};
use crate::plan::FileMapping;

/// Links are followed to this depth when folders are copied in, so that a loop ends.
const DEEPEST: usize = 64;

/// The files of an image by path, without the settings and the kernel.
#[derive(Clone, Default, Debug)]
pub(crate) struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
}

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    metadata: Metadata,
    data: Vec<u8>,
}

/// An image taken apart.
pub(crate) struct Image {
    pub(crate) config: Config,
    pub(crate) kernel: Option<Vec<u8>>,
    pub(crate) tree: Tree,
}

impl Tree {
    /// What every machine has: the folders that are mounted over, and the files that Go's
    /// resolver and `os/user` read.
    pub(crate) fn base(hostname: &str) -> Self {
        let mut tree = Self::default();
        for path in ["bin", "dev", "etc", "proc", "root", "sys", "var"] {
            tree.directory(path.as_bytes(), Metadata::root(0o755));
        }
        for path in ["tmp", "var/tmp"] {
            tree.directory(path.as_bytes(), Metadata::root(0o1777));
        }
        let hosts = format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
        );
        let files = [
            ("etc/hostname", format!("{hostname}\n")),
            ("etc/hosts", hosts),
            ("etc/resolv.conf", "# filled when the network is up\n".to_owned()),
            ("etc/nsswitch.conf", "hosts: files dns\n".to_owned()),
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"
                    .to_owned(),
            ),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n".to_owned()),
        ];
        for (path, text) in files {
            tree.file(path.as_bytes(), Metadata::root(0o644), text.into_bytes());
        }
        tree
    }

    /// Adds a file, with the folders that lead to it.
    pub(crate) fn file(&mut self, path: &[u8], metadata: Metadata, data: Vec<u8>) {
        self.insert(path, Node { kind: Kind::File, metadata, data });
    }

    fn directory(&mut self, path: &[u8], metadata: Metadata) {
        self.insert(path, Node { kind: Kind::Directory, metadata, data: Vec::new() });
    }

    /// Adds a folder and those that lead to it, where they are missing.
    pub(crate) fn folder(&mut self, path: &[u8]) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        if !path.is_empty() && !self.nodes.contains_key(path) {
            self.directory(path, Metadata::root(0o755));
        }
    }

    fn insert(&mut self, path: &[u8], node: Node) {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        for (end, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if let Some(parent) = path.get(..end).filter(|parent| !parent.is_empty()) {
                self.nodes.entry(parent.to_vec()).or_insert_with(|| Node {
                    kind: Kind::Directory,
                    metadata: Metadata::root(0o755),
                    data: Vec::new(),
                });
            }
        }
        self.nodes.insert(path.to_vec(), node);
    }

    /// Copies files and folders of the host in.
    pub(crate) fn add(&mut self, mappings: &[FileMapping]) -> anyhow::Result<()> {
        for mapping in mappings {
            self.copy(&mapping.host, mapping.guest.as_bytes(), 0, &|_| false)
                .with_context(|| format!("--file {}", mapping.host.display()))?;
        }
        Ok(())
    }

    /// Copies a file or folder to the same path in the machine, without the folders below it that
    /// `skips`, and without what is neither file, folder nor link.
    pub(crate) fn add_in_place(
        &mut self,
        path: &Path,
        skips: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        let skips = |path: &Path| {
            fs::symlink_metadata(path).is_ok_and(|found| {
                let kind = found.file_type();
                if kind.is_dir() { skips(path) } else { !kind.is_file() && !kind.is_symlink() }
            })
        };
        self.copy(path, path.as_os_str().as_bytes(), 0, &skips)
    }

    fn copy(
        &mut self,
        host: &Path,
        guest: &[u8],
        depth: usize,
        skips: &dyn Fn(&Path) -> bool,
    ) -> anyhow::Result<()> {
        anyhow::ensure!(depth < DEEPEST, "folders are nested too deep");
        // What the command line names is followed; links below it are copied as links.
        let found = if depth == 0 { fs::metadata(host) } else { fs::symlink_metadata(host) }?;
        let metadata = Metadata {
            permissions: (found.mode() & 0o7777) as u16,
            uid: 0,
            gid: 0,
            modified: u32::try_from(found.mtime()).unwrap_or(0),
        };
        let kind = found.file_type();
        if kind.is_dir() {
            if !guest.is_empty() {
                self.directory(guest, metadata);
            }
            for entry in fs::read_dir(host)? {
                let entry = entry?;
                let below = [guest, b"/", entry.file_name().as_bytes()].concat();
                if !skips(&entry.path()) {
                    self.copy(&entry.path(), &below, depth + 1, skips)?;
                }
            }
        } else if kind.is_symlink() {
            let data = fs::read_link(host)?.into_os_string().into_vec();
            self.insert(guest, Node { kind: Kind::Symlink, metadata, data });
        } else if kind.is_file() {
            let data = fs::read(host).with_context(|| host.display().to_string())?;
            self.file(guest, metadata, data);
        } else {
            anyhow::bail!("{} is neither file nor folder", host.display());
        }
        Ok(())
    }

    /// The contents of a file, by absolute path.
    pub(crate) fn contents(&self, path: &str) -> Option<&[u8]> {
        let node = self.nodes.get(path.strip_prefix('/')?.as_bytes())?;
        (node.kind == Kind::File).then_some(node.data.as_slice())
    }

    /// Replaces the contents of a file, by absolute path, with what `change` makes of them;
    /// `None` leaves them.
    pub(crate) fn change(&mut self, path: &str, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) {
        let node = path.strip_prefix('/').and_then(|path| self.nodes.get_mut(path.as_bytes()));
        if let Some(node) = node.filter(|node| node.kind == Kind::File)
            && let Some(data) = change(&node.data)
        {
            node.data = data;
        }
    }

    /// Paths and sizes of the files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, usize)> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.kind != Kind::Directory)
            .map(|(path, node)| (format!("/{}", String::from_utf8_lossy(path)), node.data.len()))
    }

    /// Writes the archive: settings, the kernel if it is to travel along, then the files.
    pub(crate) fn archive(
        &self,
        config: &Config,
        kernel: Option<&[u8]>,
    ) -> anyhow::Result<Vec<u8>> {
        config.validate()?;
        let mut writer = Writer::new();
        writer.file(config::PATH.as_bytes(), Metadata::root(0o644), config.render().as_bytes())?;
        if let Some(kernel) = kernel {
            writer.file(KERNEL_PATH.as_bytes(), Metadata::root(0o755), kernel)?;
        }
        for (path, node) in &self.nodes {
            writer
                .entry(path, node.kind, node.metadata, &node.data)
                .with_context(|| format!("/{}", String::from_utf8_lossy(path)))?;
        }
        Ok(writer.finish())
    }
}

impl Image {
    /// Reads an image.
    pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let unusable =
            |why: String| Failure::of(Code::CannotRun, format!("a damaged image: {why}"));
        let mut image = Self { config: Config::default(), kernel: None, tree: Tree::default() };
        let mut has_config = false;
        for entry in Archive::new(bytes).entries() {
            let entry = entry.map_err(|error| unusable(error.to_string()))?;
            if entry.path == config::PATH.as_bytes() {
                image.config = Config::parse(entry.data)
                    .map_err(|error| unusable(format!("settings, {error}")))?;
                has_config = true;
            } else if entry.path == KERNEL_PATH.as_bytes() {
                image.kernel = Some(entry.data.to_vec());
            } else {
                let Metadata { permissions, uid, gid, modified } = entry.metadata;
                let metadata = Metadata { permissions, uid, gid, modified };
                let node = Node { kind: entry.kind, metadata, data: entry.data.to_vec() };
                image.tree.insert(entry.path, node);
            }
        }
        if !has_config {
            return Failure::err(
                Code::CannotRun,
                format!("a cpio archive, but not an eggos image: it lacks {}", config::PATH),
            );
        }
        image.config.validate().map_err(|error| unusable(error.to_string()))?;
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> Config {
        Config { program: "/bin/a".into(), args: vec!["a".into()], ..Config::default() }
    }

    #[test]
    fn an_image_comes_back() {
        let mut tree = Tree::base("box");
        tree.file(b"/bin/a", Metadata::root(0o755), vec![1; 5000]);
        tree.file(b"srv/deep/er/file", Metadata::root(0o644), b"x".to_vec());
        let bytes = tree.archive(&config(), Some(b"kernel")).unwrap();
        let image = Image::parse(&bytes).unwrap();
        assert_eq!(image.config, config());
        assert_eq!(image.kernel.as_deref(), Some(&b"kernel"[..]));
        assert_eq!(image.tree.contents("/bin/a"), Some(&[1; 5000][..]));
        assert_eq!(image.tree.contents("/etc/hostname"), Some(&b"box\n"[..]));
        assert!(image.tree.nodes.contains_key(&b"srv/deep"[..]));
        assert_eq!(image.tree.nodes.len(), tree.nodes.len());
    }

    #[test]
    fn contents_change_in_place() {
        let mut tree = Tree::base("box");
        tree.file(b"/bin/a", Metadata::root(0o755), b"long".to_vec());
        tree.change("/bin/a", |data| data.get(..2).map(<[u8]>::to_vec));
        assert_eq!(tree.contents("/bin/a"), Some(&b"lo"[..]));
        for path in ["/bin/a", "/bin", "/nothing", "relative"] {
            tree.change(path, |_| None);
        }
        assert_eq!(tree.contents("/bin/a"), Some(&b"lo"[..]));
    }

    #[test]
    fn the_host_is_copied_with_its_links() {
        let host = tempfile::tempdir().unwrap();
        fs::create_dir(host.path().join("sub")).unwrap();
        fs::write(host.path().join("sub/a"), "A").unwrap();
        std::os::unix::fs::symlink("a", host.path().join("sub/link")).unwrap();
        let mut tree = Tree::default();
        tree.add(&[FileMapping { host: host.path().to_owned(), guest: "/srv".into() }]).unwrap();
        assert_eq!(tree.contents("/srv/sub/a"), Some(&b"A"[..]));
        tree.add(&[FileMapping { host: host.path().to_owned(), guest: String::new() }]).unwrap();
        assert_eq!(tree.contents("/sub/a"), Some(&b"A"[..]));
        assert_eq!(tree.nodes[&b"srv/sub/link"[..]].kind, Kind::Symlink);
        let nothing = FileMapping { host: "/nothing/here".into(), guest: "/srv".into() };
        assert!(tree.add(&[nothing]).unwrap_err().to_string().contains("/nothing/here"));
    }

    #[test]
    fn other_archives_are_not_images() {
        let error = Image::parse(&Writer::new().finish()).err().unwrap();
        assert!(error.to_string().contains("not an eggos image"), "{error}");
    }

    proptest! {
        #[test]
        fn damaged_images_never_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = Tree::base("box").archive(&config(), None).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Image::parse(&bytes);
        }
    }
}
