// Says of a resource on standard input what is wrong with it, by the definitions of FHIR R4: a JSON list of messages.
// That a code is in no value set that the library has is left out: it has neither LOINC, SNOMED CT nor DICOM's.
import { readFileSync } from "node:fs";
import fhir from "fhir";

const resource = JSON.parse(readFileSync(0, "utf8"));
const { messages } = new fhir.Fhir().validate(resource, { errorOnUnexpected: true });
const wrong = messages.filter((one) => one.severity === "error" || one.severity === "fatal");
console.log(JSON.stringify(wrong.map((one) => `${one.location}: ${one.message}`)));
