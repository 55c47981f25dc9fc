//! `egg build`.

use std::fs;

use anyhow::Context;

use crate::cli::BuildArgs;
use crate::content::Content;
use crate::exit::Ended;
use crate::plan::Plan;

/// Writes an image: one file that holds everything, the kernel too.
pub(crate) fn build(args: &BuildArgs) -> anyhow::Result<Ended> {
    let plan = Plan::of_content(&args.content, &super::host())?;
    let content = Content::prepare(&plan)?;
    let archive = content.tree.archive(&content.config, Some(content.kernel.elf()))?;
    let output = args.output.clone().unwrap_or_else(|| {
        let name = content.config.program.rsplit('/').next().unwrap_or("program");
        format!("{name}.egg").into()
    });
    fs::write(&output, &archive).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} KiB; run it with: egg run {}", output.display(), archive.len() / 1024, {
        let shown = output.display().to_string();
        if shown.starts_with(['/', '.']) { shown } else { format!("./{shown}") }
    });
    Ok(Ended::SUCCESS)
}
