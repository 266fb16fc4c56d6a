import { wireListKeys } from "./list_keys.js";

wireListKeys();
