"""budgetc_model: a compiled ONNX model as a library that targets depend on, built from its lock.

    load("//tools:budgetc.bzl", "budgetc_model")

    budgetc_model(
        name = "digits",
        spec = "spec.yaml",
        model = ["digits.onnx"],
        data = ["calibration.npz", "evaluation.npz"],
        tool = "//tools:budgetc",
    )

    cc_binary(name = "app", srcs = ["app.c"], deps = [":digits"])

A search measures, and so it is nothing for a sandbox: `budgetc lock spec.yaml` does it, outside, and its lock stands
beside the spec. The action reads the files that are declared here and writes the bytes of the lock. Where spec, model,
data or tools are others than those that were locked, it fails and says which.

An action begins with an empty cache. `--action_env=BUDGETC_CACHE=/var/cache/budgetc` lets actions share one, with
`--sandbox_writable_path` of the same folder: they end sooner, and with the same bytes.
"""

# Arguments: the tool, the spec, the lock, the target, and the files to make, which are called as in the artefact.
_COMMAND = """
set -eu
tool=$1 spec=$2 lock=$3 target=$4
shift 4
scratch=$(mktemp -d "$PWD/budgetc.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/tmp"
export BUDGETC_CACHE="${BUDGETC_CACHE:-$scratch/cache}" HOME="$scratch" TMPDIR="$scratch/tmp"
"$tool" compile "$spec" --locked --lock "$lock" --target "$target" --out "$scratch/out" --quiet
for made in "$@"; do
    if [ ! -f "$scratch/out/$target/${made##*/}" ]; then
        echo "budgetc_model: the artefact has no ${made##*/}; it has" $(ls "$scratch/out/$target") >&2
        echo "  output_name and kind must be those of the spec's output." >&2
        exit 1
    fi
    cp "$scratch/out/$target/${made##*/}" "$made"
done
"""

_SUFFIXES = {"shared": ".so", "static": ".a"}

def _impl(ctx):
    name = ctx.attr.output_name or ctx.label.name
    folder = ctx.label.name + ".budgetc/"
    library = ctx.actions.declare_file(folder + "lib" + name + _SUFFIXES[ctx.attr.kind])
    header = ctx.actions.declare_file(folder + name + ".h")
    manifest = ctx.actions.declare_file(folder + "manifest.json")
    made = [library, header, manifest]
    read = [ctx.file.spec, ctx.file.lock] + ctx.files.records + ctx.files.model + ctx.files.data
    ctx.actions.run_shell(
        outputs = made,
        inputs = read,
        tools = [ctx.attr.tool[DefaultInfo].files_to_run],
        command = _COMMAND,
        arguments = [
            ctx.executable.tool.path,
            ctx.file.spec.path,
            ctx.file.lock.path,
            ctx.attr.target,
        ] + [each.path for each in made],
        use_default_shell_env = True,  # for --action_env=BUDGETC_CACHE
        mnemonic = "BudgetcModel",
        progress_message = "Building the model %s from its lock" % ctx.label,
    )
    return [
        DefaultInfo(files = depset(made)),
        OutputGroupInfo(
            library = depset([library]),
            header = depset([header]),
            manifest = depset([manifest]),
        ),
    ]

budgetc_artefact = rule(
    implementation = _impl,
    doc = "Library, header and manifest of a model, in output groups of these names.",
    attrs = {
        "spec": attr.label(allow_single_file = True, mandatory = True),
        "lock": attr.label(allow_single_file = True, mandatory = True),
        "records": attr.label_list(allow_files = True, doc = "The files in the folder beside the lock."),
        "model": attr.label_list(
            allow_files = True,
            mandatory = True,
            doc = "The model, and the files that hold its weights.",
        ),
        "data": attr.label_list(
            allow_files = True,
            doc = "All else that the spec names: data, slices, a board, the module of a metric.",
        ),
        "target": attr.string(default = "host", doc = "Which of the spec's targets."),
        "output_name": attr.string(doc = "The spec's output.name; by default the name of the rule."),
        "kind": attr.string(default = "shared", values = _SUFFIXES.keys(), doc = "The spec's output.kind."),
        "tool": attr.label(
            mandatory = True,
            executable = True,
            cfg = "exec",
            doc = "What runs the command line of budgetc.",
        ),
    },
)

def budgetc_model(
        name,
        spec,
        model,
        tool,
        data = [],
        target = "host",
        output_name = "",
        kind = "shared",
        cc_import = None,
        cc_library = None,
        **rest):
    """A model as a library for C and C++. Its lock is the one that `budgetc lock SPEC` writes beside the spec.

    Args:
      name: of the library; its files are those of NAME_artefact.
      spec: the spec, in this package.
      model: the model, and the files that hold its weights.
      tool: what runs the command line of budgetc.
      data: all else that the spec names.
      target: which of the spec's targets.
      output_name: the spec's output.name; by default the name of the library.
      kind: the spec's output.kind, "shared" or "static".
      cc_import: that of rules_cc, for a Bazel that has none of its own.
      cc_library: likewise.
      **rest: what cc_library takes, such as visibility.
    """
    lock = spec.rpartition(".")[0] + ".lock"
    artefact = name + "_artefact"
    budgetc_artefact(
        name = artefact,
        spec = spec,
        lock = lock,
        records = native.glob([lock + ".d/**"]),
        model = model,
        data = data,
        target = target,
        output_name = output_name or name,
        kind = kind,
        tool = tool,
    )
    for group in ("library", "header"):
        native.filegroup(name = artefact + "_" + group, srcs = [artefact], output_group = group)
    library = {"static_library" if kind == "static" else "shared_library": artefact + "_library"}
    (cc_import or native.cc_import)(name = name + "_import", **library)
    (cc_library or native.cc_library)(
        name = name,
        hdrs = [artefact + "_header"],
        includes = [artefact + ".budgetc"],
        linkopts = ["-lm", "-lpthread"] if kind == "static" else [],
        deps = [name + "_import"],
        **rest
    )
