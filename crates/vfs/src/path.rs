//! Walking a path.

use crate::access::{ROOT, Who};
use crate::flags::{PATH_MAX, SYMLINKS_MAX};
use crate::inode::{InodeRef, LinkTarget, Place};
use crate::metadata::FileType;
use crate::tree::Vfs;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use base::Errno;
use core::ops::Range;

/// From where a path is looked up: relative ones from `directory`, absolute ones from `root`.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// The working directory, or the one a descriptor leads to.
    pub directory: &'a InodeRef,
    /// The root directory of the process.
    pub root: &'a InodeRef,
    /// Who asks.
    pub who: &'a Who,
    /// The path may not leave `directory` (openat2's `RESOLVE_BENEATH`; `EXDEV`).
    pub beneath: bool,
    /// No symbolic links at all (openat2's `RESOLVE_NO_SYMLINKS`; `ELOOP`).
    pub no_symlinks: bool,
    /// No links of /proc that lead past any path (openat2's `RESOLVE_NO_MAGICLINKS`; `ELOOP`).
    pub no_magic_links: bool,
    /// No way from one file system to another (openat2's `RESOLVE_NO_XDEV`; `EXDEV`).
    pub no_crossing: bool,
}

impl<'a> At<'a> {
    /// A look-up by the superuser, without special rules.
    #[must_use]
    pub fn new(directory: &'a InodeRef, root: &'a InodeRef) -> Self {
        Self {
            directory,
            root,
            who: &ROOT,
            beneath: false,
            no_symlinks: false,
            no_magic_links: false,
            no_crossing: false,
        }
    }
}

/// The last component of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// A name.
    Name(Box<[u8]>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// The path was slashes only.
    Root,
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    vfs: &'a Vfs,
    pub(crate) at: At<'a>,
    /// The directory reached.
    pub(crate) current: InodeRef,
    /// The path, or what became of it by links.
    rest: Cow<'a, [u8]>,
    position: usize,
    links: u32,
    /// The last component had slashes after it.
    pub(crate) trailing_slash: bool,
}

/// What following a symbolic link came to.
pub(crate) enum Followed {
    /// A path, put before what is left to walk.
    Onward,
    /// An inode, without a path.
    Jump(LinkTarget),
}

impl<'a> Walk<'a> {
    /// Starts.
    ///
    /// # Errors
    /// `ENOENT`: the path is empty. `ENAMETOOLONG`.
    pub(crate) fn new(vfs: &'a Vfs, at: At<'a>, path: &'a [u8]) -> Result<Self, Errno> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let absolute = path.first() == Some(&b'/');
        if absolute && at.beneath {
            return Err(Errno::EXDEV);
        }
        let current = if absolute { at.root } else { at.directory };
        Ok(Self {
            vfs,
            at,
            current: current.clone(),
            rest: Cow::Borrowed(path),
            position: 0,
            links: 0,
            trailing_slash: false,
        })
    }

    fn slashes(&mut self) -> bool {
        let start = self.position;
        while self.rest.get(self.position) == Some(&b'/') {
            self.position += 1;
        }
        self.position > start
    }

    /// Where the next component lies in the path, and whether it is the last one.
    fn component(&mut self) -> Option<(Range<usize>, bool)> {
        self.slashes();
        let start = self.position;
        let tail = self.rest.get(start..).unwrap_or_default();
        let length = tail.iter().position(|byte| *byte == b'/').unwrap_or(tail.len());
        if length == 0 {
            return None;
        }
        self.position = start + length;
        self.trailing_slash = self.slashes();
        Some((start..start + length, self.position >= self.rest.len()))
    }

    /// Walks to the directory of the last component.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`, `EACCES`.
    pub(crate) fn walk_to_last(&mut self) -> Result<Last, Errno> {
        loop {
            let Some((range, is_last)) = self.component() else { return Ok(Last::Root) };
            self.require_directory()?;
            self.at.who.check_search(&self.current)?;
            let name = self.rest.get(range).unwrap_or_default();
            match (name, is_last) {
                (b".", true) => return Ok(Last::Dot),
                (b"..", true) => return Ok(Last::DotDot),
                (_, true) => return Ok(Last::Name(name.into())),
                (b".", false) => {}
                (b"..", false) => self.up()?,
                (_, false) => {
                    let child = self.child(name)?;
                    self.enter(child)?;
                }
            }
        }
    }

    /// What stands under a name in the directory reached.
    ///
    /// # Errors
    /// `ENOENT`. `EXDEV`: it is mounted there, and the walk must not go that way.
    pub(crate) fn child(&self, name: &[u8]) -> Result<InodeRef, Errno> {
        let child = self.vfs.child_of(&self.current, name)?;
        self.check_crossing(&child)?;
        Ok(child)
    }

    fn check_crossing(&self, next: &InodeRef) -> Result<(), Errno> {
        if self.at.no_crossing && next.id().device != self.current.id().device {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    fn require_directory(&self) -> Result<(), Errno> {
        if self.current.kind() == FileType::Directory { Ok(()) } else { Err(Errno::ENOTDIR) }
    }

    /// Goes from a directory to its parent; the root is its own.
    pub(crate) fn up(&mut self) -> Result<(), Errno> {
        if self.at.beneath && self.current.id() == self.at.directory.id() {
            return Err(Errno::EXDEV);
        }
        if self.current.id() != self.at.root.id() {
            let parent = self.vfs.parent_of(&self.current);
            self.check_crossing(&parent)?;
            self.current = parent;
        }
        Ok(())
    }

    /// Goes on to a directory, or to where a link leads.
    fn enter(&mut self, child: InodeRef) -> Result<(), Errno> {
        match child.kind() {
            FileType::Directory => self.current = child,
            FileType::SymbolicLink => {
                if let Followed::Jump(target) = self.follow(&child)? {
                    match target {
                        LinkTarget::Inode(place) => self.current = place.inode,
                        _ => return Err(Errno::ENOTDIR),
                    }
                    self.require_directory()?;
                }
            }
            _ => return Err(Errno::ENOTDIR),
        }
        Ok(())
    }

    /// Puts where the link leads before the rest of the path.
    ///
    /// # Errors
    /// `ELOOP`: one link too many. `ENOENT`: an empty target.
    pub(crate) fn follow(&mut self, link: &InodeRef) -> Result<Followed, Errno> {
        self.links += 1;
        if self.links > SYMLINKS_MAX || self.at.no_symlinks {
            return Err(Errno::ELOOP);
        }
        let target = match link.link_target()? {
            LinkTarget::Path(path) => path,
            _ if self.at.no_magic_links => return Err(Errno::ELOOP),
            _ if self.at.beneath => return Err(Errno::EXDEV),
            jump => {
                if let LinkTarget::Inode(place) = &jump {
                    self.check_crossing(&place.inode)?;
                }
                return Ok(Followed::Jump(jump));
            }
        };
        match target.first() {
            None => return Err(Errno::ENOENT),
            Some(b'/') if self.at.beneath => return Err(Errno::EXDEV),
            Some(b'/') => {
                self.check_crossing(self.at.root)?;
                self.current = self.at.root.clone();
            }
            Some(_) => {}
        }
        let mut rest = target;
        if self.trailing_slash || self.position < self.rest.len() {
            rest.push(b'/');
        }
        rest.extend_from_slice(self.rest.get(self.position..).unwrap_or_default());
        self.rest = Cow::Owned(rest);
        self.position = 0;
        Ok(Followed::Onward)
    }

    /// Walks to the end. `follow`: a symbolic link at the end is followed, as one with a slash
    /// after it always is.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `ELOOP`, `ENAMETOOLONG`.
    pub(crate) fn walk_to_end(&mut self, follow: bool) -> Result<End, Errno> {
        loop {
            let name = match self.walk_to_last()? {
                Last::Name(name) => name,
                Last::DotDot => {
                    self.up()?;
                    return Ok(End::Place(Place::of(self.current.clone())));
                }
                Last::Dot | Last::Root => return Ok(End::Place(Place::of(self.current.clone()))),
            };
            let child = self.child(&name)?;
            let kind = child.kind();
            if kind == FileType::SymbolicLink && (follow || self.trailing_slash) {
                match self.follow(&child)? {
                    Followed::Onward => continue,
                    Followed::Jump(LinkTarget::Inode(place)) => {
                        if self.trailing_slash && place.inode.kind() != FileType::Directory {
                            return Err(Errno::ENOTDIR);
                        }
                        return Ok(End::Place(place));
                    }
                    Followed::Jump(LinkTarget::File(file)) => return Ok(End::File(file)),
                    Followed::Jump(LinkTarget::Path(_)) => return Err(Errno::ELOOP),
                }
            }
            if self.trailing_slash && kind != FileType::Directory {
                return Err(Errno::ENOTDIR);
            }
            return Ok(End::Place(Place {
                inode: child,
                parent: Some(self.current.clone()),
                name,
            }));
        }
    }
}

/// Where a path ends.
pub(crate) enum End {
    /// At an inode.
    Place(Place),
    /// At an open file without an inode (`/proc/self/fd/3` of a pipe).
    File(crate::file::FileRef),
}
