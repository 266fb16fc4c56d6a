import { wireWalking } from "./walk.js";

wireWalking();
